"""aihwkit's residual learning at the same work: same network, batches, rates, devices, converters."""

from __future__ import annotations

import itertools
import statistics
from importlib.util import find_spec
from typing import Any

import torch

from benchmark.in_memory import (
    CASES,
    GAMMA,
    RATE,
    SIZES,
    STATES,
    TAU,
    Step,
    in_turn,
    ours,
    plain,
    stepper,
)


def compare_peers(steps: int) -> list[dict[str, Any]]:
    """Ours in both modes and aihwkit's, where it is installed, beside the plain step: rows of the table."""
    rows = []
    for what, case in CASES.items():
        ways = {
            "plain torch": plain(),
            "aimc-deploy, expected": ours("expected", case),
            "aimc-deploy, counts": ours("counts", case),
        }
        if find_spec("aihwkit"):
            ways["aihwkit, C++ tile"] = aihwkit(case)
        medians = [statistics.median(each) for each in in_turn(steps, *ways.values())]
        taken = dict(zip(ways, medians, strict=True))
        rows += [
            {"simulator": name, "devices": what, "ms": 1e3 * each, "over_plain": each / taken["plain torch"]}
            for name, each in taken.items()
        ]
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The table, in Markdown."""
    print("\n| simulator | devices | step | over plain torch |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['simulator']} | {row['devices']} | {row['ms']:.2f} ms | {row['over_plain']:.2f} x |")


def aihwkit(case: dict[str, Any]) -> Step:
    """Its ``TransferCompound``, pulses drawn as in our counts; ``case`` as our own settings say it."""
    from aihwkit.nn import AnalogLinear, AnalogSequential
    from aihwkit.optim import AnalogSGD
    from aihwkit.simulator.configs import UnitCellRPUConfig
    from aihwkit.simulator.configs.compounds import TransferCompound
    from aihwkit.simulator.configs.devices import SoftBoundsDevice
    from aihwkit.simulator.parameters import IOParameters
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

    device, converters = case["device"], case.get("converters")
    spread = device.get("spread", {})
    cell = SoftBoundsDevice(
        dw_min=2 * TAU / STATES,
        w_max=TAU,
        w_min=-TAU,
        dw_min_dtod=spread.get("step", 0.0),
        w_max_dtod=spread.get("tau", 0.0),
        w_min_dtod=spread.get("tau_min", 0.0),
        up_down_dtod=spread.get("bias", 0.0),
        dw_min_std=device.get("cycle_to_cycle", 0.0),
        mult_noise=device.get("cycle_noise") == "multiplicative",
    )
    perfect = IOParameters(is_perfect=True)
    borders = perfect
    if converters is not None:
        borders = IOParameters(
            inp_res=1 / (2 ** converters["dac_bits"] - 2),
            out_res=1 / (2 ** converters["adc_bits"] - 2),
            out_bound=converters["output_range"],
            out_noise=converters["output_noise"],
            noise_management=NoiseManagementType.ABS_MAX,
            bound_management=BoundManagementType.NONE,
        )
    config = UnitCellRPUConfig(
        device=TransferCompound(
            unit_cell_devices=[cell, cell],
            gamma=GAMMA,
            units_in_mbatch=True,
            transfer_every=1,
            n_reads_per_transfer=1,
            transfer_columns=True,
            transfer_lr=0.1,
            scale_transfer_lr=False,
            transfer_forward=perfect,
        ),
        forward=borders,
        backward=borders,
    )
    config.mapping.learn_out_scaling = True
    torch.manual_seed(0)
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(SIZES):
        layers += [AnalogLinear(inputs, outputs, rpu_config=config), torch.nn.Sigmoid()]
    model = AnalogSequential(*layers[:-1])
    optimizer = AnalogSGD(model.parameters(), lr=RATE)
    optimizer.regroup_param_groups(model)
    return stepper(model, optimizer)
