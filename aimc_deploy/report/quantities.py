"""Times, energies and counts as people read them; what is not known is *n/a*, never 0."""

from __future__ import annotations

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.cost.estimate import Cost

UNKNOWN = "n/a"  # not available: nobody has published what it follows from
UNCOUNTED = "attention, normalisation and data movement are not counted"


def time_told(value_ns: float | None) -> str:
    """A time in ns, in a unit that fits it."""
    if value_ns is None:
        return UNKNOWN
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if value_ns >= size:
            return f"{value_ns / size:.2f} {unit}"
    return f"{value_ns:.0f} ns"


def energy_told(value_nj: float | None) -> str:
    """An energy in nJ, as uJ."""
    return UNKNOWN if value_nj is None else f"{value_nj / 1e3:.2f} uJ"


def count_told(value: float | None) -> str:
    """A number, in groups of three digits."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def percent_told(value: float | None) -> str:
    """A share that is added."""
    return UNKNOWN if value is None else f"{value:+.0%}"


def totals(cost: Cost) -> list[tuple[str, str, str]]:
    """What is counted, on the tiles alone, and with the adapters."""
    return [
        ("a token, alone", time_told(cost.token_ns), time_told(cost.token_with_adapters_ns)),
        (
            f"{cost.length} tokens in a pipeline",
            time_told(cost.sequence_ns),
            time_told(cost.sequence_with_adapters_ns),
        ),
        ("tokens a second", count_told(cost.tokens_per_s), count_told(cost.tokens_per_s_with_adapters)),
        ("energy of a token", energy_told(cost.tile_nj), energy_told(cost.token_nj)),
        ("of that the adapters", "", energy_told(cost.adapter_nj)),
    ]


def sizes(cost: Cost) -> str:
    """Tiles, chips, area and products, in one line."""
    chips = count_told(cost.chips)
    area = UNKNOWN if cost.area_mm2 is None else f"{cost.area_mm2:.1f} mm2"
    return f"{cost.tiles} tiles; chips: {chips}; area: {area}; {cost.products} products of a tile for a token"


def sources(hardware: Hardware) -> list[tuple[str, str]]:
    """Each figure of the chip: its value, how it was found, and where it is from."""
    found = []
    for name, quantity in hardware.chip:
        told = "not available"
        if quantity is not None:
            told = f"{quantity.value:g} ({quantity.kind}; {quantity.source})"
        found.append((name, told))
    return found
