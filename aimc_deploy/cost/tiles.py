"""What a tile does in a second and for a joule, from the time and energy of one product.

An operation is one multiplication or one addition, as the makers of chips count.
"""

from __future__ import annotations


def tera_ops(rows: int, cols: int, mvm_ns: float, tiles: int = 1) -> float:
    """10^12 operations a second of ``tiles`` tiles of ``rows`` x ``cols`` weights, all of them busy."""
    return 2 * rows * cols * tiles / mvm_ns / 1e3


def tera_ops_per_watt(rows: int, cols: int, mvm_nj: float) -> float:
    """10^12 operations a joule."""
    return 2 * rows * cols / mvm_nj / 1e3


def watts(mvm_ns: float, mvm_nj: float, tiles: int = 1) -> float:
    """Power of tiles that do one product after the other."""
    return mvm_nj / mvm_ns * tiles


def charge_decrement_us(input_bits: int, output_bits: int, phases: int) -> float:
    """Time of a product on a chip that converts by taking charge away step by step, in us.

    The magnitude bits of the inputs are applied in one or two phases, the more significant half first; each
    integrates for ``2^bits - 1`` steps of 0.27 us, converts what bits are left at 0.3 us each, and takes
    0.3 us more. Source: Wan et al., Nature 608, 504 (2022), with the constants of its model in CiMLoop.
    """
    magnitude = max(1, input_bits - 1)
    first = -(-magnitude // phases)
    parts = [first, magnitude - first] if phases == 2 else [magnitude]
    integrate = 0.27 * sum(2**bits - 1 for bits in parts)
    convert = 0.3 * sum(output_bits - sum(parts[:index]) for index in range(len(parts)))
    return integrate + convert + 0.3 * len(parts)
