"""Which adapters a command means where the user does not say: those of the task for this hardware."""

from __future__ import annotations

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows.adapters import read_record


def adapters_for(bundle: Bundle, config: Run) -> tuple[str, ...]:
    """The adapters asked for, else those of the task that were trained for this hardware, or for none.

    On other hardware than the bundle's, those trained for the bundle's come too: what it was like before.

    Raises:
        ArtifactError: there is none, or one is for another task.
    """
    task = get_task(config.task).name
    for name in config.evaluate.adapters:
        other = read_record(bundle, name).task
        if other != task:
            raise ArtifactError(f"adapter '{name}' is for task '{other}', not '{task}': use --task {other}")
    if config.evaluate.adapters:
        return config.evaluate.adapters
    records = {name: read_record(bundle, name) for name in bundle.adapters()}
    own = {
        name: record
        for name, record in records.items()
        if record.task == task and record.training.get("chip") in (None, config.evaluate.chip)
    }
    of_chips = {
        name: record.training["chip"]
        for name, record in records.items()
        if record.task == task and name not in own
    }
    # The adapters of a schedule are measured with it.
    staged = {stage.adapter for record in own.values() for stage in record.stages}
    own = {name: record for name, record in own.items() if name not in staged}
    if of_chips and not own:
        there = ", ".join(f"'{name}' for chip {chip}" for name, chip in of_chips.items())
        raise ArtifactError(
            f"{bundle.path} has adapters for '{task}' trained on one chip only ({there}): use that one "
            f"(--chip {next(iter(of_chips.values()))}), name an adapter with --adapter, or train one for "
            f"all with `aimc-deploy adapt --task {task}`"
        )
    if not own:
        raise ArtifactError(
            f"{bundle.path} has no adapter for '{task}': train one with `aimc-deploy adapt --task {task}`"
        )
    digest, usual = config.hardware.digest(), bundle.manifest.hardware_digest
    digital = [name for name, record in own.items() if not record.hardware_aware]
    aware = {name: record.hardware_digest for name, record in own.items() if record.hardware_aware}
    fitting = [name for name, trained_for in aware.items() if trained_for == digest]
    before = [name for name, trained_for in aware.items() if trained_for == usual != digest]
    if aware and not fitting:
        trained = {name: own[name].training["hardware"]["name"] for name in aware}
        there = ", ".join(f"'{name}' for {hardware}" for name, hardware in trained.items())
        raise ArtifactError(
            f"no adapter for '{task}' was trained for this hardware (there: {there}): train one with "
            f"`aimc-deploy adapt --task {task} --start-from {next(iter(own))}` and the same hardware, or "
            "measure one as it is with --adapter NAME"
        )
    return (*fitting, *digital, *before)


def usual_adapter(bundle: Bundle, config: Run) -> str:
    """The one that a model is used with: named like the task if that one fits the hardware, else the first.

    Raises:
        ArtifactError: there is none for the task and the hardware.
    """
    found, task = adapters_for(bundle, config), get_task(config.task).name
    fits = task in found and read_record(bundle, task).hardware_digest == config.hardware.digest()
    return task if fits else found[0]
