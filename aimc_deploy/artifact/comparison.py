"""Two evaluations of one task side by side: what moved, by how much, and whether chance would do as much.

The chance that is meant is that of the chips. The samples are the same for every chip, so that no test over
chips tells what other samples would give.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aimc_deploy.artifact.results import ROUNDING, Results
from aimc_deploy.artifact.shift import Shift, holm, paired_shift, unpaired_shift
from aimc_deploy.config.model import dotted
from aimc_deploy.config.times import label, seconds
from aimc_deploy.errors import ConfigError

MAX_LOSS = 0.005
SIGNIFICANCE = 0.05
# What a change is explained by elsewhere, or what is another from one machine to the next.
_NO_SETTING = ("request_sha256", "chips", "times", "hardware")

Outcome = Literal["worse", "tolerated", "undecided", "no change", "better"]


@dataclass(frozen=True)
class Change:
    """How one adapter moved at one time, ``t_s`` seconds after programming.

    Attributes:
        chips: in the baseline, and now.
        paired: each chip was compared with itself; else Welch's test of two samples of chips.
        before, after: means over chips.
        holm_worse, holm_better: the chances of the shift, corrected for the number of comparisons.
        outcome: ``worse`` is certain and more than is allowed; ``tolerated`` is certain and allowed;
            ``undecided`` is more than is allowed, and chance would do as much.
        told: all of it as a sentence.
    """

    adapter: str
    time: str
    t_s: float
    chips: tuple[int, int]
    paired: bool
    before: float
    after: float
    shift: Shift
    holm_worse: float
    holm_better: float
    outcome: Outcome
    told: str

    @property
    def chance(self) -> float:
        """How often chance alone shifts as far in this direction, corrected."""
        return self.holm_better if self.shift.change > 0 else self.holm_worse


@dataclass(frozen=True)
class OneSided:
    """Times of one adapter that only one of both evaluations has."""

    adapter: str
    times: tuple[str, ...]
    told: str


@dataclass(frozen=True)
class Setting:
    """Something else that is not the same in both; None where it is not there."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Comparison:
    """An evaluation against an earlier one.

    Attributes:
        max_loss: how much worse a mean may be.
        significance: below which chance is no explanation, after Holm's correction.
        changes: one for each adapter and time, the worst first.
        missing: what the baseline has and was not evaluated now; it fails, because what was left out
            might have got worse.
        added: what the baseline does not have.
        settings: what else changed.
    """

    task: str
    metric: str
    max_loss: float
    significance: float
    changes: tuple[Change, ...]
    missing: tuple[OneSided, ...]
    added: tuple[OneSided, ...]
    settings: tuple[Setting, ...]

    @property
    def failures(self) -> list[str]:
        """What got worse or is missing, one sentence each."""
        worse = [change.told for change in self.changes if change.outcome == "worse"]
        return worse + [part.told for part in self.missing]

    @property
    def method(self) -> str:
        """Which test it was."""
        pairs, both = sum(change.paired for change in self.changes), len(self.changes)
        if pairs == both:
            return "each chip was compared with itself (paired t test)"
        which = "the chips" if pairs == 0 else f"the chips of {both - pairs} of {both} comparisons"
        return f"{which} are not the same in both: their seed, samples or numbers differ (Welch's t test)"


def compare(
    before: Results,
    after: Results,
    *,
    at: str | None = None,
    max_loss: float = MAX_LOSS,
    significance: float = SIGNIFICANCE,
) -> Comparison:
    """Compare two evaluations of one task by its primary metric.

    Chips are paired where both have the same seed, samples and chip numbers.

    Args:
        at: look at this time only.
        max_loss: how much worse a mean may be, as a fraction.

    Raises:
        ConfigError: another task or metric, nothing that both have, or a single chip.
    """
    if (before.task, before.metric) != (after.task, after.metric):
        raise ConfigError(
            f"the baseline is {before.metric} of task '{before.task}', the results are {after.metric} of "
            f"'{after.task}': compare evaluations of one task"
        )
    old, new = _groups(before, at), _groups(after, at)
    both = sorted(old.keys() & new.keys())
    if not both:
        when = "" if at is None else f" at {at}"
        raise ConfigError(
            f"the baseline and the results have no adapter and time in common{when}: {_whose(old)} against "
            f"{_whose(new)}"
        )
    shifts = [_shift_of(before, after, key, old[key], new[key]) for key in both]
    worse = holm([shift.p_worse for _, shift in shifts])
    better = holm([shift.p_better for _, shift in shifts])
    changes = []
    for key, (paired, shift), down, up in zip(both, shifts, worse, better, strict=True):
        outcome = _outcome(shift.change, down, up, max_loss, significance)
        means = statistics.fmean(old[key].values()), statistics.fmean(new[key].values())
        told = _told(key, after.metric, means, shift, up if shift.change > 0 else down, outcome, max_loss)
        changes.append(
            Change(
                *(key[0], label(key[1]), key[1]),
                *((len(old[key]), len(new[key])), paired),
                *(*means, shift, down, up, outcome, told),
            )
        )
    return Comparison(
        task=after.task,
        metric=after.metric,
        max_loss=max_loss,
        significance=significance,
        changes=tuple(sorted(changes, key=lambda change: change.shift.change)),
        missing=_one_sided(
            old,
            new,
            "was not evaluated at {times}, as the baseline was: evaluate it, or take another baseline",
        ),
        added=_one_sided(new, old, "was evaluated at {times}, and the baseline was not"),
        settings=tuple(_changed(before, after)),
    )


Key = tuple[str, float]  # adapter, t_s
Chips = dict[int, float]


def _groups(results: Results, at: str | None) -> dict[Key, Chips]:
    groups: dict[Key, Chips] = {}
    for row in results.rows:
        if at is None or row.t_s == seconds(at):
            groups.setdefault((row.adapter, row.t_s), {})[row.chip] = row.metrics[results.metric]
    return groups


def _whose(groups: Mapping[Key, Chips]) -> str:
    times: dict[str, list[str]] = {}
    for adapter, t_s in sorted(groups):
        times.setdefault(adapter, []).append(label(t_s))
    return "; ".join(f"{adapter} at {', '.join(own)}" for adapter, own in times.items()) or "nothing"


def _shift_of(before: Results, after: Results, key: Key, old: Chips, new: Chips) -> tuple[bool, Shift]:
    if min(len(old), len(new)) < 2:
        which = "the baseline has" if len(old) < 2 else "the results have"
        raise ConfigError(
            f"whether a difference is more than chance takes at least 2 chips, and {which} 1 for adapter "
            f"'{key[0]}' at {label(key[1])}: evaluate on more (--chips 10)"
        )
    if (before.seed, before.samples, old.keys()) == (after.seed, after.samples, new.keys()):
        order = sorted(old)
        values = [old[chip] for chip in order], [new[chip] for chip in order]
        return True, paired_shift(*values, resolution=1 / max(1, after.samples))
    resolutions = 1 / max(1, before.samples), 1 / max(1, after.samples)
    return False, unpaired_shift(list(old.values()), list(new.values()), resolutions)


def _outcome(
    change: float, holm_worse: float, holm_better: float, max_loss: float, significance: float
) -> Outcome:
    too_much = -change > max_loss + ROUNDING
    if holm_worse <= significance:
        return "worse" if too_much else "tolerated"
    if holm_better <= significance:
        return "better"
    return "undecided" if too_much else "no change"


def _told(
    key: Key,
    metric: str,
    means: tuple[float, float],
    shift: Shift,
    chance: float,
    outcome: Outcome,
    max_loss: float,
) -> str:
    ends = {
        "worse": f"; at most {max_loss:.6g} is allowed",
        "undecided": f"; at most {max_loss:.6g} is allowed, but this may be chance: more chips decide it",
    }
    told = f"{key[0]} at {label(key[1])}: {metric} was {means[0]:.6g} and is {means[1]:.6g}"
    if shift.change == 0:
        return f"{told}, the same"
    return (
        f"{told}, {abs(shift.change):.3g} {'better' if shift.change > 0 else 'worse'} (95 % interval "
        f"{shift.ci_low:+.3g} to {shift.ci_high:+.3g}, p {chance:.2g} after Holm's correction)"
        f"{ends.get(outcome, '')}"
    )


def _one_sided(groups: Mapping[Key, Chips], others: Mapping[Key, Chips], told: str) -> tuple[OneSided, ...]:
    times: dict[str, list[str]] = {}
    for adapter, t_s in sorted(groups.keys() - others.keys()):
        times.setdefault(adapter, []).append(label(t_s))
    return tuple(
        OneSided(adapter, tuple(own), f"adapter '{adapter}' {told.format(times=', '.join(own))}")
        for adapter, own in times.items()
    )


def _changed(before: Results, after: Results) -> Iterator[Setting]:
    """What else is not the same: a change may come from there."""
    both = {part.adapter for part in before.baselines} & {part.adapter for part in after.baselines}
    old, new = _settings(before, both), _settings(after, both)
    for key in sorted(old.keys() | new.keys()):
        if json.dumps(old.get(key)) != json.dumps(new.get(key)):
            yield Setting(key, old.get(key), new.get(key))


def _settings(results: Results, adapters: set[str]) -> dict[str, Any]:
    rest = {key: value for key, value in results.settings.items() if key not in _NO_SETTING}
    return {
        "seed": results.seed,
        "samples": results.samples,
        "hardware digest": results.hardware_digest[:12],
        **dict(dotted(results.settings.get("hardware"), "hardware")),
        **dict(dotted(rest)),
        **{
            f"{part.adapter} without hardware": part.metrics[results.metric]
            for part in results.baselines
            if part.adapter in adapters
        },
    }
