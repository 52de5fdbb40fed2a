"""What an adaptation is asked for: its name, a digest of all it depends on, and what is there already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aimc_deploy.artifact.adapter import AdapterRecord
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.contents import check_free
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.config.load import load_hardware_json
from aimc_deploy.config.model import digest_of
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows.adapters import WEIGHTS, read_record

Existing = Literal["refuse", "keep", "replace"]
NO_PART = {"checkpoint_steps", "report_to"}
"""Settings of ``Adapt`` that an adapter does not depend on."""


@dataclass(frozen=True)
class AdaptResult:
    """What training gave, or gave before.

    Attributes:
        bundle: the one that holds the adapter ``name``; a new one for ``method: full``.
        base_before, base_after: SHA-256 of what the tiles were asked to hold.
        kept: it was there already and nothing was trained.
    """

    bundle: Bundle
    name: str
    record: AdapterRecord
    base_before: str
    base_after: str
    kept: bool = False


def adapter_name(config: Run) -> str:
    """The name asked for, else the task's, with what sets it apart from the task's usual adapter.

    That is the method, how it learns in memory, a schedule, the chip, and hardware other than the bundle's.
    """
    task = get_task(config.task).name
    adapt = config.adapt.of_task(task)
    if adapt.name:
        return adapt.name
    parts = [task]
    if adapt.method != "lora":
        parts.append(adapt.method)
    if adapt.in_memory:
        parts.append(adapt.in_memory.algorithm.kind.replace("_", "-"))
    if not adapt.hardware_aware:
        return "-".join((*parts, "digital"))
    if adapt.schedule:
        parts.append("schedule")
    usual = bool(adapt.in_memory) and (adapt.chip, adapt.age) == (0, "0s")
    if adapt.chip is not None and not usual:
        parts += [f"chip{adapt.chip}", adapt.age]
    described = Path(config.bundle) / "hardware.json"
    if described.is_file() and load_hardware_json(described).digest() != config.hardware.digest():
        parts.append(config.hardware.digest()[:8])
    return "-".join(parts)


def full_bundle(config: Run) -> Path:
    """Where ``method: full`` writes its own base if nothing else is said."""
    path = Path(config.bundle)
    return path.with_name(f"{path.name}-{adapter_name(config)}")


def existing_adapter(where: Path, name: str, existing: Existing, run_sha256: str) -> AdaptResult | None:
    """The adapter that is there and may be kept, or None where there is room; refuses before training."""
    if existing == "replace" or not (where / MANIFEST).exists():
        check_free(where, overwrite=True)
        return None
    bundle = Bundle.open(where)
    if name not in bundle.adapters():
        return None
    record = read_record(bundle, name)
    if existing == "keep" and record.run_sha256 == run_sha256:
        return AdaptResult(bundle, name, record, record.base_sha256, bundle.manifest.base_sha256, kept=True)
    other = " from other settings, data or base" if existing == "keep" else ""
    raise ArtifactError(
        f"{where} has an adapter '{name}' already{other}: choose another with --name (adapt.name), or "
        "replace it with `aimc-deploy adapt --overwrite`"
    )


def run_digest(config: Run, bundle: Bundle, data_sha256: str) -> str:
    """What a checkpoint may be continued for: the same settings on the same base and data."""
    content = {
        "task": get_task(config.task).identity(),
        "seed": config.seed,
        "max_length": config.max_length,
        "hardware": config.hardware.essentials(),
        "adapt": config.adapt.essentials(NO_PART),
        "base": bundle.manifest.base_sha256,
        "digital": bundle.manifest.files["model.safetensors"].sha256,
        "data": data_sha256,
    }
    if config.adapt.start_from is not None:
        content["start"] = bundle.manifest.files[f"adapters/{config.adapt.start_from}/{WEIGHTS}"].sha256
    return digest_of(content)
