"""``docs/in_memory.md``, from the results in ``docs/in_memory``, and what they say of published claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import in_memory_sst2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aimc_deploy.workflows.study.results import Cell, Results, read
from aimc_deploy.workflows.study.studies import COLUMNS, DIGITAL, STUDIES, place

CLEAR = 2.0
"""Standard errors by which two means must differ for one to be called better."""

Seen = tuple[str, str]
"""The figures, and the verdict."""


@dataclass(frozen=True)
class Claim:
    """What was published or is asked for, and how it is looked for in the results of one study."""

    study: str
    text: str
    look: Callable[[Results], Seen]


def better(
    first: tuple[str, float | str | None], second: tuple[str, float | str | None]
) -> Callable[[Results], Seen]:
    """Whether a cell is more accurate than another."""

    def look(found: Results) -> Seen:
        one, other = _cell(found, *first), _cell(found, *second)
        difference, error = one.mean - other.mean, _error(one, other)
        verdict = "not clear"
        if abs(difference) > CLEAR * error:
            verdict = "yes" if difference > 0 else "**no**"
        return f"{one.text} against {other.text}", verdict

    return look


def no_worse(
    first: tuple[str, float | str | None], second: tuple[str, float | str | None]
) -> Callable[[Results], Seen]:
    """Whether a cell is not clearly less accurate than another."""

    def look(found: Results) -> Seen:
        figures, verdict = better(first, second)(found)
        return figures, "**no**" if verdict == "**no**" else "yes"

    return look


def near(method: str, x: float | str, points: float = 1.0) -> Callable[[Results], Seen]:
    """Whether a cell is at most so many points below the digital baseline."""

    def look(found: Results) -> Seen:
        one, baseline = _cell(found, method, x), _cell(found, DIGITAL, None)
        fits = one.mean >= baseline.mean - points
        return f"{one.text} against {baseline.text}", "yes" if fits else "**no**"

    return look


def below(method: str, x: float | str, limit: float) -> Callable[[Results], Seen]:
    """Whether a cell is below a limit by more than chance."""

    def look(found: Results) -> Seen:
        one = _cell(found, method, x)
        return one.text, "yes" if one.mean + CLEAR * _error(one) < limit else "**no**"

    return look


def steady(method: str, points: float) -> Callable[[Results], Seen]:
    """Whether all cells of a method are within so many points of each other."""

    def look(found: Results) -> Seen:
        own = [cell for cell in found.cells if cell.method == method]
        low, high = min(own, key=lambda cell: cell.mean), max(own, key=lambda cell: cell.mean)
        return f"{low.text} to {high.text}", "yes" if high.mean - low.mean <= points else "**no**"

    return look


RL = "residual, gamma 0.4"
CLAIMS = (
    Claim(
        "tau",
        "Analog SGD fails where bounds are near the weights (tau 0.6: under 15 % of MNIST [1, table 8]; "
        "here: under 60 %)",
        below("Analog SGD", 0.6, 60),
    ),
    Claim("tau", "Residual learning at tau 0.6 is within 1 point of digital [1, table 8]", near(RL, 0.6)),
    Claim(
        "tau",
        "Analog SGD recovers with wider bounds [1, table 8]",
        better(("Analog SGD", 2.5), ("Analog SGD", 0.6)),
    ),
    Claim(
        "responses",
        "A steeper response harms Analog SGD: power 0.5 before 2 at tau 0.6 [1, table 8]",
        better(("Analog SGD", "power 0.5, tau 0.6"), ("Analog SGD", "power 2, tau 0.6")),
    ),
    Claim(
        "responses",
        "The same for exponential responses: 0.5 before 2 [1, table 8]",
        better(("Analog SGD", "exponential 0.5, tau 1"), ("Analog SGD", "exponential 2, tau 1")),
    ),
    Claim(
        "responses",
        "Residual learning does not mind: all responses within 2 points [1, table 8]",
        steady(RL, 2.0),
    ),
    Claim(
        "gamma",
        "A share gamma of 0.1 is far better than 0 [1, figure 5]; here: at high rates",
        better(("residual, alpha 0.2, beta 0.2", 0.1), ("residual, alpha 0.2, beta 0.2", 0.0)),
    ),
    Claim(
        "gamma",
        "0.4 is no better than 0.1 [1, figure 5]; here: at the highest transfer rate",
        no_worse(("residual, alpha 0.1, beta 0.4", 0.1), ("residual, alpha 0.1, beta 0.4", 0.4)),
    ),
    Claim(
        "symmetric-point",
        "Spread symmetric points that are not known harm residual learning: an oracle before none at 0.3 "
        "[1, corollary 1]",
        better(("residual, oracle", 0.3), ("residual, no calibration", 0.3)),
    ),
    Claim(
        "symmetric-point",
        "Zero-shifting mends it: 2000 pulses before none at 0.3 [1, corollary 1]",
        better(("residual, 2000 pulses", 0.3), ("residual, no calibration", 0.3)),
    ),
    Claim(
        "symmetric-point",
        "E-RIDER needs no calibration: before uncalibrated residual learning at 0.3 [3]",
        better(("E-RIDER, p 0.02, eta 0.02", 0.3), ("residual, no calibration", 0.3)),
    ),
    Claim(
        "noise",
        "A moving average helps where reads are noisy: residual v2 before residual at noise 1 [1]",
        better(("residual v2, beta 0.05", 1.0), ("residual", 1.0)),
    ),
    Claim(
        "noise",
        "The moving average is better than the plain sum: residual v2 before TT-v2 at noise 1 "
        "[1, CIFAR-100 in table 1]",
        better(("residual v2, beta 0.05", 1.0), ("TT-v2, gamma 0.4", 1.0)),
    ),
    Claim(
        "states",
        "Residual learning without a buffer falls behind at 20 states: TT-v2 before residual [2]",
        better(("TT-v2, gamma 0.4", 20.0), (RL, 20.0)),
    ),
    Claim(
        "states",
        "Mixed precision is the best at few states: before TT-v2 at 20 [2]",
        better(("mixed precision, momentum 0.9", 20.0), ("TT-v2, gamma 0.4", 20.0)),
    ),
)


def page(folder: Path) -> str:
    """The text of the page; a study without results is told as not measured.

    Raises:
        ArtifactError: a file of results is damaged.
        ValueError: results are of another study than their name says.
    """
    found = {name: read(path) for name in STUDIES if (path := folder / f"{name}.json").exists()}
    wrong = [name for name, results in found.items() if results.name != name]
    if wrong:
        raise ValueError(f"{folder}: {', '.join(wrong)} are results of other studies")
    claims = [(claim, *claim.look(found[claim.study])) for claim in CLAIMS if claim.study in found]
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is Markdown
    )
    template = templates.get_template("in_memory.md.j2")
    versions: dict[str, list[str]] = {}
    for name, results in found.items():
        told = ", ".join(f"{what} {value}" for what, value in sorted(results.versions.items()))
        versions.setdefault(told, []).append(name)
    encoder = folder / "sst2" / "results.json"
    return template.render(
        studies=STUDIES,
        found=found,
        claims=claims,
        place=place,
        at_edge=at_edge,
        columns=COLUMNS,
        versions=versions,
        encoder=in_memory_sst2.read(encoder) if encoder.exists() else None,
        encoder_what=list(in_memory_sst2.WHAT),
        encoder_states=in_memory_sst2.STATES,
        encoder_methods=list(in_memory_sst2.METHODS),
    )


def at_edge(found: Results) -> list[Cell]:
    """Whose chosen rate is the lowest or the highest of those that were tried."""
    return [
        cell
        for cell in found.cells
        if cell.candidates
        and cell.lr in (min(one.lr for one in cell.candidates), max(one.lr for one in cell.candidates))
    ]


def _cell(found: Results, method: str, x: float | str | None) -> Cell:
    cell = found.cell(method, x)
    if cell is None:
        raise ValueError(f"the study {found.name} has no {method} at {x}")
    return cell


def _error(*cells: Cell) -> float:
    """Standard error of a mean, or of the difference of two, runs taken as independent."""
    return sum((cell.std or 0.0) ** 2 / len(cell.rows) for cell in cells) ** 0.5
