"""Write the golden bundle of this version, which every later version has to read.

At each release, once, with the version that is released:

    PYTHONPATH=tests python scripts/golden.py

It goes into ``tests/golden/VERSION`` and is never written again; `tests/workflows/test_workflows_golden.py`
reads all that are there.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from small_keys import write_keys
from tiny_deployment import recipe, write_checkpoint, write_task

from aimc_deploy.artifact.files import dump_json, write_atomic
from aimc_deploy.artifact.signature import sign
from aimc_deploy.version import __version__
from aimc_deploy.workflows import adapt, evaluate, map, predict, report

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
TEXTS = ["a good film", "the plot was awful", "very funny and warm", "it is a dull book"]
MAX_BYTES = 300_000


def main() -> None:
    """Map, adapt, evaluate and report the tiny deployment, and note what a reader must find."""
    place = GOLDEN / __version__
    if place.exists():
        raise SystemExit(f"{place} is there already: a golden bundle is never written again")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "golden").mkdir()
        os.chdir(root / "golden")  # so that no path of this machine is kept
        data = write_task(Path("data"), dev=40)
        checkpoint = write_checkpoint(Path("../checkpoint"))
        learns = {"name": "sst2", "epochs": 8.0, "learning_rate": 2.0e-2, "checkpoint_steps": 100}
        bundle = Path("bundle")
        config = recipe(bundle, checkpoint, data, adapt=learns, evaluate={"chips": 2})
        map.run(config, bundle)
        adapt.run(config)
        rows = evaluate.run(config).results.rows
        answers = predict.run(config, TEXTS, adapter="sst2", at="1y")
        report.run(bundle)
        expected = {
            "rows": [row.model_dump(mode="json") for row in rows],
            "predictions": [[text, told.answer] for text, told in zip(TEXTS, answers, strict=True)],
            "recipe": json.loads(config.model_dump_json(include={"task", "max_length", "seed"})),
        }
        write_atomic(root / "golden" / "expected.json", dump_json(expected, "expected.json").encode())
        for lock in (root / "golden").rglob("*.lock"):
            lock.unlink()
        private, _ = write_keys(root)
        sign(bundle, private)  # nobody keeps the private key
        shutil.copy(root / "key.pub.pem", root / "golden" / "public.pem")
        size = sum(path.stat().st_size for path in (root / "golden").rglob("*") if path.is_file())
        if size > MAX_BYTES:
            raise SystemExit(f"the golden bundle has {size:,} bytes, and {MAX_BYTES:,} are allowed")
        shutil.copytree(root / "golden", place)
    print(f"{place}: {size:,} bytes")


if __name__ == "__main__":
    main()
