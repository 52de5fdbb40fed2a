"""Time, energy and memory of a LoRA adapter on the digital cluster beside the tiles.

Source: Li et al., AHWA-LoRA, Neuromorphic Computing and Engineering 6, 014011 (2026), for the design; the
equations follow from the sizes alone. One efficiency and one time to hand over are fitted to its two figures.
"""

from __future__ import annotations

from aimc_deploy.config.chip import Cluster

FP16 = 2  # bytes


def macs(rows: int, cols: int, rank: int) -> int:
    """Multiply-accumulates for one token: both factors of the adapter of a (rows, cols) layer."""
    return rank * (rows + cols)


def memory_bytes(rows: int, cols: int, rank: int, tokens: int) -> int:
    """Bytes in fp16: both factors, and for ``tokens`` tokens the inputs, what lies between, the outputs."""
    return FP16 * (rank * (rows + cols) + tokens * (rows + rank + cols))


def busy_ns(rows: int, cols: int, rank: int, tokens: int, cluster: Cluster) -> float:
    """Time for a batch of tokens, in ns."""
    cycles = macs(rows, cols, rank) * tokens / (cluster.efficiency.value * cluster.macs_per_cycle.value)
    return cycles / cluster.clock_mhz.value * 1e3


def energy_nj(rows: int, cols: int, rank: int, cluster: Cluster) -> float:
    """Energy for one token, in nJ."""
    return 2 * macs(rows, cols, rank) / cluster.gflops_per_w.value


def overhead(
    rows: int, cols: int, rank: int, tokens: int, tile_ns: float, cluster: Cluster, *, pipelined: bool = True
) -> float:
    """How much longer a layer takes with its adapter than its tiles alone, as a share.

    Args:
        tokens: that are handed over together.
        tile_ns: that the layer's tiles take for one token.
        pipelined: the cluster works on one batch while the tiles work on the next; else they wait.
    """
    analog = tile_ns * tokens
    digital = busy_ns(rows, cols, rank, tokens, cluster)
    both = max(analog, digital) if pipelined else analog + digital
    return (both + cluster.sync_ns.value) / analog - 1
