"""One point, trained and measured."""

from __future__ import annotations

from pathlib import Path

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import summarise
from aimc_deploy.config.executor import Local
from aimc_deploy.config.run import Run
from aimc_deploy.workflows.evaluate import EvaluateResult
from aimc_deploy.workflows.run import deploy
from aimc_deploy.workflows.sweep.reckon import costs
from aimc_deploy.workflows.sweep.row import Row, Spread
from aimc_deploy.workflows.threads import one_thread


def measure(config: Run, bundle: Path, key: str) -> Row:
    """Map, adapt and evaluate in ``bundle``, as far as that is not done yet, on one thread.

    Raises:
        AimcError: as the steps raise it.
    """
    config = config.model_copy(update={"bundle": str(bundle), "executor": Local(workers=1)})
    measured = None
    with one_thread():
        for step in deploy(config, results=key):
            if isinstance(step.result, EvaluateResult):
                measured = step.result.results
    assert measured is not None
    own = next(part.adapter for part in measured.rows)
    (digital,) = (part.metrics[measured.metric] for part in measured.baselines if part.adapter == own)
    return Row(
        key=key,
        adapter=own,
        metric=measured.metric,
        digital=digital,
        times=tuple(
            Spread(
                time=part.time,
                t_s=part.t_s,
                mean=part.mean,
                std=part.std,
                ci_low=part.ci_low,
                ci_high=part.ci_high,
            )
            for part in summarise(measured)
            if part.adapter == own and part.metric == measured.metric
        ),
        **costs(config, Bundle.open(bundle).read_json("tile_map.json")),
    )
