"""How long a training step in memory takes against a plain torch step: 784-256-128-10, batch 10.

    python scripts/bench_in_memory.py [ALGORITHM] [UPDATE] [STEPS]

Both take steps in turn, in one thread; the medians of the CPU time and their ratio are printed as JSON.
Inputs are random: a step does not depend on them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.training.layer import train_in_memory
from aimc_deploy.training.optimizer import AnalogOptimizer, digital_parameters


def network() -> nn.Sequential:
    """The network of the papers' MNIST experiments."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(784, 256), nn.Sigmoid(), nn.Linear(256, 128), nn.Sigmoid(), nn.Linear(128, 10)
    )


def stepper(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """One training step."""

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def measure(kind: str, update: str, steps: int) -> dict[str, object]:
    """Median ms of both kinds of step, taken in turn."""
    algorithm = {"kind": kind} | ({} if kind == "mixed_precision" else {"update": {"kind": update}})
    plain, memory = network(), network()
    train_in_memory(memory, InMemory.model_validate({"algorithm": algorithm}))
    steppers = {
        "plain": stepper(plain, torch.optim.SGD(plain.parameters(), 0.05)),
        "in_memory": stepper(
            memory, AnalogOptimizer(memory, 0.05, torch.optim.SGD(digital_parameters(memory), 0.05))
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in steppers}
    draw = torch.Generator().manual_seed(0)
    for number in range(steps + 20):
        x, y = torch.rand(10, 784, generator=draw), torch.randint(10, (10,), generator=draw)
        for name, step in steppers.items():
            start = time.process_time()
            step(x, y)
            if number >= 20:
                times[name].append(1e3 * (time.process_time() - start))
    medians = {f"{name}_ms": round(statistics.median(each), 3) for name, each in times.items()}
    ratio = statistics.median(times["in_memory"]) / statistics.median(times["plain"])
    return {"algorithm": kind, "update": update, "steps": steps, **medians, "ratio": round(ratio, 2)}


if __name__ == "__main__":
    given = sys.argv[1:]
    kind = given[0] if given else "residual"
    update = given[1] if len(given) > 1 else "expected"
    torch.set_num_threads(1)
    print(json.dumps(measure(kind, update, int(given[2]) if len(given) > 2 else 300)))
