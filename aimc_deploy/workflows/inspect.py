"""Inspect: what a bundle holds, as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.ledger import Ledger
from aimc_deploy.artifact.results import Results, from_bundle, names_in
from aimc_deploy.workflows.adapters import read_record
from aimc_deploy.workflows.base import read_hardware


def run(path: Path) -> dict[str, Any]:
    """Model, hardware, tiles, adapters and results of a bundle.

    Raises:
        ArtifactError: there is no bundle, or it is damaged.
    """
    bundle = Bundle.open(path)
    manifest, plan, hardware = bundle.manifest, bundle.read_json("tile_map.json"), read_hardware(bundle)
    found = ledger(bundle)
    return {
        "bundle": str(bundle.path),
        "source": manifest.source,
        "libraries": manifest.libraries,
        "hardware": hardware.model_dump(mode="json"),
        "base_sha256": manifest.base_sha256,
        "analog": {
            "layers": len(plan["analog"]),
            "parameters": found.analog,
            "tiles": plan["tiles"],
            "utilisation": plan["utilisation"],
        },
        "digital_parameters": found.digital,
        "adapters": [_adapter(bundle, name, hardware.digest()) for name in bundle.adapters()],
        "ledger": found.told(),
        "results": [_described(name, results) for name, results in read_results(bundle).items()],
        "bytes": sum(entry.size for entry in manifest.files.values()),
    }


def ledger(bundle: Bundle) -> Ledger:
    """What the bundle's tasks need, each with one adapter: that which is named like the task, if any."""
    analog = bundle.read_json("tile_map.json")["weights"]
    adapters: dict[str, int] = {}
    for name in bundle.adapters():
        record = read_record(bundle, name)
        if name == record.task or record.task not in adapters:
            adapters[record.task] = record.parameters
    return Ledger(analog, int(bundle.manifest.source.get("parameters", 0)) - analog, adapters)


def read_results(bundle: Bundle) -> dict[str, Results]:
    """Every evaluation in the bundle by its name, sorted."""
    return {name: from_bundle(bundle, name) for name in names_in(bundle)}


def _adapter(bundle: Bundle, name: str, digest: str) -> dict[str, Any]:
    record = read_record(bundle, name)
    own = (
        entry.size for file, entry in bundle.manifest.files.items() if file.startswith(f"adapters/{name}/")
    )
    return {
        "name": name,
        "task": record.task,
        "method": record.how,
        "parameters": record.parameters,
        "bytes": sum(own),
        "trained_for": record.trained_for(digest),
        "hardware_digest": record.hardware_digest,
        "training": record.training,
    }


def _described(name: str, results: Results) -> dict[str, Any]:
    return {
        "name": name,
        "task": results.task,
        "metric": results.metric,
        "chips": len({row.chip for row in results.rows}),
        "times": list(dict.fromkeys(row.time for row in sorted(results.rows, key=lambda row: row.t_s))),
        "adapters": list(dict.fromkeys(row.adapter for row in results.rows)),
    }
