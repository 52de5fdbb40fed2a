"""A case of a campaign, which of them are run, and what is told of them."""

from __future__ import annotations

import random
import shlex
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One way to break something.

    Attributes:
        kind: what it is counted as.
        label: its name, the same whenever the campaign is run with the same seed.
        check: does it; says what is wrong with the outcome, None if nothing is.
    """

    kind: str
    label: str
    check: Callable[[], str | None]


@dataclass
class Tally:
    """How a campaign went.

    Attributes:
        kinds: cases by kind.
        failures: the cases that failed, with what to do to see it again; one that stands for several that
            are alike says how many ``times``.
        figures: whatever else was counted or measured.
    """

    campaign: str
    seed: int
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def size(self) -> int:
        """Cases that were run."""
        return self.kinds.total()

    @property
    def failed(self) -> int:
        """Cases that failed."""
        return sum(failure.get("times", 1) for failure in self.failures)


def chosen(cases: Sequence[Case], size: int | None, seed: int, only: str | None) -> list[Case]:
    """All cases, or ``size`` of them drawn by seed with one of each kind at least, or the one ``only``."""
    if only is not None:
        return [case for case in cases if case.label == only]
    if size is None or size >= len(cases):
        return list(cases)
    order = random.Random(seed).sample(range(len(cases)), len(cases))
    first = dict.fromkeys(cases[at].kind for at in order)
    for at in order:
        first[cases[at].kind] = at
    picked = list(first.values())
    picked += [at for at in order if at not in set(picked)][: max(0, size - len(picked))]
    return [cases[at] for at in sorted(picked)]


def run(tally: Tally, cases: Sequence[Case]) -> Tally:
    """Run cases one after the other; after Ctrl-C the tally is of those that were run."""
    start = time.monotonic()
    for case in cases:
        try:
            why = case.check()
        except KeyboardInterrupt:
            tally.figures["not run"] = len(cases) - tally.size
            break
        except Exception:  # of a case that was to be refused: that is what campaigns look for
            why = traceback.format_exc()
        tally.kinds[case.kind] += 1
        if why is not None:
            again = f"scripts/campaign {tally.campaign} --seed {tally.seed} --only {shlex.quote(case.label)}"
            tally.failures.append({"case": case.label, "why": why, "reproduce": again})
    tally.seconds += time.monotonic() - start
    return tally
