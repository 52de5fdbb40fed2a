"""A search by Optuna: which points to look at next, from what the ones before gave.

Trials are asked for in batches whose size the file says, and told in their order, so that neither the
engine nor the number of workers changes which points come. The study is built anew by each call, and what was
computed before is not computed again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aimc_deploy.config.sweep import Range
from aimc_deploy.errors import ConfigError, ExecutorError
from aimc_deploy.workflows.sweep.points import Point, SweepFile
from aimc_deploy.workflows.sweep.row import Row
from aimc_deploy.workflows.sweep.table import Ended, accuracy_of


@contextlib.contextmanager
def search(file: SweepFile) -> Iterator[Search]:
    """A search as the file describes it; Optuna says nothing of its own inside the block.

    Raises:
        ConfigError: the file has nothing to search.
        ExecutorError: Optuna is not installed.
    """
    if not file.sweep.search:
        raise ConfigError("--search: this sweep has no key 'search', which says where to look")
    try:
        import optuna
    except ImportError:
        raise ExecutorError(
            "--search optuna needs Optuna, which is not installed: pip install 'aimc-deploy[tune]'"
        ) from None
    loud = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield Search(optuna, file)
    finally:
        optuna.logging.set_verbosity(loud)


class Search:
    """The trials so far."""

    def __init__(self, optuna: Any, file: SweepFile) -> None:
        self.file, self.optuna = file, optuna
        objectives = file.sweep.objectives
        self.study = optuna.create_study(
            directions=["maximize" if name == "accuracy" else "minimize" for name in objectives],
            # Good from ten trials on, where a population would not have had its second generation.
            sampler=optuna.samplers.TPESampler(seed=file.sweep.search_seed),
        )
        self.asked: dict[int, Any] = {}

    def batches(self, trials: int) -> Iterator[list[Point]]:
        """Points to be computed; those of a batch must be told before the next is asked for."""
        size = self.file.sweep.batch
        for first in range(0, trials, size):
            asked = [self.study.ask() for _ in range(min(size, trials - first))]
            chosen = [
                {key: (_suggest(trial, key, space), ("search", key)) for key, space in self._space()}
                for trial in asked
            ]
            points = self.file.points(chosen, first + 1)
            self.asked |= {point.number: trial for point, trial in zip(points, asked, strict=True)}
            yield points

    def _space(self) -> list[tuple[str, Range | tuple[Any, ...]]]:
        return list(self.file.sweep.search.items())

    def tell(self, batch: Sequence[Point], ended: Mapping[str, Ended]) -> None:
        """What came of a batch.

        Raises:
            ConfigError: what is searched for is not known of a point that was computed.
        """
        for point in batch:
            row, trial = ended[point.key].row, self.asked.pop(point.number)
            if row is None:
                self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            else:
                self.study.tell(trial, [_value(row, name, point) for name in self.file.sweep.objectives])


def _suggest(trial: Any, key: str, space: Range | tuple[Any, ...]) -> Any:
    if not isinstance(space, Range):  # by its place, for lists and mappings are no categories of Optuna's
        return space[trial.suggest_categorical(key, range(len(space)))]
    if space.whole:
        return trial.suggest_int(key, space.low, space.high, step=space.step or 1, log=space.log)
    return trial.suggest_float(key, space.low, space.high, step=space.step, log=space.log)


def _value(row: Row, name: str, point: Point) -> float:
    value = accuracy_of(row) if name == "accuracy" else getattr(row, name)
    if value is None:
        raise ConfigError(
            f"objectives: {name} is not known of {point.label}: nobody has published the chip's time; choose "
            "hardware that has one, or other objectives"
        )
    return value
