"""Gate: judge results that are there, by conditions and against a baseline; nothing is measured."""

from __future__ import annotations

from pathlib import Path

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.comparison import MAX_LOSS, SIGNIFICANCE, compare
from aimc_deploy.artifact.gate import Judged, judge
from aimc_deploy.artifact.results import Results, from_bundle, from_file, names_in
from aimc_deploy.config.run import Gate
from aimc_deploy.errors import ConfigError
from aimc_deploy.tasks.registry import get_task


def run(
    bundle: Path,
    *,
    task: str | None = None,
    results: str | None = None,
    gate: Gate | None = None,
    baseline: Path | None = None,
    max_loss: float = MAX_LOSS,
    significance: float = SIGNIFICANCE,
) -> Judged:
    """Judge the results of a bundle, or of a file.

    Args:
        task: whose results; the only ones of the bundle if that and ``results`` are None.
        results: their name in the bundle, or a file that ends with .json.
        gate: what to ask for. Without conditions those count that the results were evaluated with, and
            ``at`` chooses the time for them and for the baseline.
        baseline: results to compare with.
        max_loss, significance: see :func:`~aimc_deploy.artifact.comparison.compare`.

    Raises:
        ArtifactError: no such results, or they cannot be read.
        ConfigError: nothing is asked for, or it cannot be judged from these results.
    """
    gate = gate or Gate()
    name, found = _read(bundle, task, results)
    asked = gate
    if not gate.is_set():
        asked = found.gate or gate
        if gate.at is not None:
            asked = asked.model_copy(update={"at": gate.at})
    if not asked.is_set() and baseline is None:
        raise ConfigError(
            f"nothing is asked of '{name}', and it was evaluated without a gate: give --min-accuracy, "
            "--max-drop or a --baseline"
        )
    verdicts = judge(found, asked)
    if baseline is None:
        return Judged(name, found, verdicts)
    before = from_file(baseline)
    comparison = compare(before, found, at=gate.at, max_loss=max_loss, significance=significance)
    return Judged(name, found, verdicts, comparison)


def _read(path: Path, task: str | None, results: str | None) -> tuple[str, Results]:
    if task is not None and results is not None:
        raise ConfigError("--task and --results both say which results: leave one of them out")
    if results is not None and results.endswith(".json"):
        return Path(results).stem, from_file(Path(results))
    bundle = Bundle.open(path)
    names = names_in(bundle)
    name = get_task(task).name if task is not None else results
    if name is None and len(names) > 1:
        raise ConfigError(f"{path} has the results {', '.join(names)}: choose one with --task or --results")
    name = name or "".join(names)
    if name not in names:
        which = f" '{name}'" if name else ""
        raise ConfigError(
            f"{path} has no results{which} (there: {', '.join(names) or 'none'}): measure them with "
            "`aimc-deploy evaluate`"
        )
    return name, from_bundle(bundle, name)
