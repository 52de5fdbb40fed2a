"""One process of the campaign of determinism: commands of aimc-deploy where folders are listed in any order.

    python -m campaigns.disordered SEED COMMANDS     COMMANDS: JSON, {FILE: [ARGUMENT, ...], ...}

Standard output of each command goes to its FILE. Ends with the first exit code that is not 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from aimc_deploy.cli.app import main


class Shuffled:
    """What ``os.scandir`` gives, in another order."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self.entries

    def __next__(self) -> Any:
        return next(self.entries)

    def __enter__(self) -> Shuffled:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None: ...


def disorder(seed: str) -> None:
    """From now on, list every folder in an order that depends on ``seed`` alone."""
    listdir, scandir, draw = os.listdir, os.scandir, Random(seed)

    def listed(path: Any = ".") -> list[Any]:
        return draw.sample(found := sorted(listdir(path)), len(found))

    def scanned(path: Any = ".") -> Shuffled:
        with scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        return Shuffled(draw.sample(found, len(found)))

    os.listdir, os.scandir = listed, scanned  # pyrefly: ignore[bad-assignment]


def run(commands: dict[str, list[str]]) -> int:
    """Give one command after the other."""
    for file, arguments in commands.items():
        with Path(file).open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
            sys.argv = ["aimc-deploy", *arguments]
            try:
                main()
                code: Any = 0
            except SystemExit as ended:
                code = ended.code or 0
        if code:
            return int(code)
    return 0


if __name__ == "__main__":
    disorder(sys.argv[1])
    sys.exit(run(json.loads(sys.argv[2])))
