"""What the interpreter does while a case runs: which files it opens, and what it executes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Watch:
    """What the interpreter tells of while a case runs; a hook stays for the life of the process."""

    allowed = tuple(os.path.realpath(path) + "/" for path in {sys.prefix, sys.base_prefix, *sys.path} if path)
    runs = ("exec", "compile", "import", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn")
    runs += ("subprocess.Popen", "pickle.find_class", "socket.connect", "socket.getaddrinfo", "ctypes.dlopen")

    def __init__(self) -> None:
        self.root: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def over(self, root: Path) -> Iterator[None]:
        self.seen, self.root = [], os.path.realpath(root)
        try:
            yield
        finally:
            self.root = None

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        root = self.root
        if root is None:
            return
        self.root = None  # what is done here is not watched
        try:
            if event in self.runs or event.startswith("marshal."):
                self.seen.append(f"{event} {arguments[:1]!r:.80}")
            elif event == "open" and not self._inside(root, *arguments):
                self.seen.append(f"open {arguments[0]!r:.120}")
        finally:
            self.root = root

    def _inside(self, root: str, path: Any, mode: Any, flags: int) -> bool:
        if isinstance(path, int) or path is None:
            return True
        name = os.fsdecode(path)
        if "/" not in name and name not in (".", "..") and flags & os.O_NOFOLLOW:
            return True  # in a folder that was opened before, and never through a link
        if flags & os.O_NOFOLLOW:  # a link in the last place would not be followed
            name = os.path.dirname(name)
        real = os.path.realpath(name)
        return real == root or real.startswith((f"{root}/", *self.allowed))
