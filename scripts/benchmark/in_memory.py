"""A training step in memory against a plain one: 784-256-128-10 with sigmoids, batches of 10, one thread.

Inputs and labels are random, of MNIST's size: a step does not depend on what they show. Both kinds of step
are taken in turn; what is compared is the time of the processor, medians, so that whatever else runs on the
machine counts little.

Devices are soft bounds of 1200 states: all alike, or with spreads of 30 % and noise of 0.3 pulses from cycle
to cycle, those of the peer's default. Converters are of 7 bits in front and 9 bits behind, with output noise
of 0.06, in both directions. Residual learning with ``gamma`` 0.4 reads one column in each step.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.training.layer import train_in_memory
from aimc_deploy.training.optimizer import AnalogOptimizer, digital_parameters
from benchmark.models import SEED
from benchmark.timing import Figure

SIZES, BATCH, EPOCH = (784, 256, 128, 10), 10, 60_000
RATE, GAMMA, WARM_UP = 0.05, 0.4, 20
TAU, STATES = 0.6, 1200
SPREAD = {"step": 0.3, "tau": 0.3, "tau_min": 0.3, "bias": 0.01}
VARIED = {"spread": SPREAD, "cycle_to_cycle": 0.3}
CASES: dict[str, dict[str, Any]] = {
    "devices alike": {"device": {}},
    "devices vary": {"device": VARIED},
    "devices vary, noise by response": {"device": VARIED | {"cycle_noise": "multiplicative"}},
    "devices vary, converters": {
        "device": VARIED,
        "converters": {"dac_bits": 7, "adc_bits": 9, "output_range": 12.0, "output_noise": 0.06},
    },
}
"""What a layer in memory is described by, beside tau, states and the algorithm."""

Step = Callable[[Tensor, Tensor], None]


def measure(repeats: int) -> list[Figure]:
    """Residual learning in both modes, for each kind of devices, and an epoch of one."""
    figures = []
    for update in ("expected", "counts"):
        for what, case in CASES.items():
            base, taken = (statistics.median(each) for each in in_turn(repeats, plain(), ours(update, case)))
            detail = f"{1e3 * taken:.2f} ms against {1e3 * base:.2f} ms"
            figures.append(_figure(f"a step, {update}, {what}", taken / base, detail))
    base, taken = (
        sum(each) for each in in_turn(EPOCH // BATCH, plain(), ours("counts", CASES["devices vary"]))
    )
    detail = f"{taken:.1f} s against {base:.1f} s"
    what = f"an epoch of {EPOCH:,} samples, counts, devices vary"
    return [*figures, _figure(what, taken / base, detail)]


def _figure(what: str, ratio: float, detail: str) -> Figure:
    return Figure(f"residual learning, {what}", torch.get_num_threads(), ratio, "x", 6.0, 3.0, detail)


def network() -> nn.Sequential:
    """The network of the papers' MNIST experiments."""
    torch.manual_seed(SEED)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(SIZES):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])


def plain() -> Step:
    """SGD."""
    model = network()
    return stepper(model, torch.optim.SGD(model.parameters(), RATE))


def ours(update: str, case: dict[str, Any]) -> Step:
    """Residual learning; bias and scale learn digitally."""
    model = network()
    algorithm = {"kind": "residual", "gamma": GAMMA, "update": {"kind": update}}
    described = case | {"device": {"tau": TAU, "states": STATES, **case["device"]}, "algorithm": algorithm}
    train_in_memory(model, InMemory.model_validate(described), seed=SEED)
    digital = torch.optim.SGD(digital_parameters(model), RATE)
    return stepper(model, AnalogOptimizer(model, RATE, digital))


def stepper(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    """One training step."""

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Random inputs in [0, 1) and labels."""
    draw = torch.Generator().manual_seed(SEED)
    for _ in range(count):
        yield torch.rand(BATCH, SIZES[0], generator=draw), torch.randint(10, (BATCH,), generator=draw)


def in_turn(steps: int, *kinds: Step) -> list[list[float]]:
    """Seconds of the processor of every step of each kind, taken in turn after a few to warm up."""
    taken: list[list[float]] = [[] for _ in kinds]
    for number, (x, y) in enumerate(batches(steps + WARM_UP)):
        for step, times in zip(kinds, taken, strict=True):
            start = time.process_time()
            step(x, y)
            if number >= WARM_UP:
                times.append(time.process_time() - start)
    return taken
