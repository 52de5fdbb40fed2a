"""The optimizer in a loop, with a scheduler, and stopped and resumed bit by bit."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.errors import ArtifactError, ConfigError, TrainingError
from aimc_deploy.training.diagnostics import advise, diagnose
from aimc_deploy.training.layer import train_in_memory
from aimc_deploy.training.optimizer import AnalogOptimizer, digital_parameters

KINDS = [
    "analog_sgd",
    "residual",
    "residual_v2",
    "tt_v2",
    "chopped_tt_v2",
    "agad",
    "e_rider",
    "multi_tile",
    "mixed_precision",
]
ROUGH = {
    "tau": 1.0,
    "states": 200,
    "cycle_to_cycle": 0.3,
    "write_noise": 0.5,
    "spread": {"step": 0.2, "tau": 0.1},
    "symmetric_point": {"spread": 0.05},
    "retention": {"lifetime_steps": 1000},
    "corrupt": {"share": 0.02},
}


def setup(
    algorithm: dict[str, Any], device: dict[str, Any] | None = None
) -> tuple[nn.Module, AnalogOptimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 3))
    train_in_memory(
        model, InMemory.model_validate({"algorithm": algorithm, "device": device or {"tau": 1.0}})
    )
    digital = torch.optim.AdamW(digital_parameters(model), lr=0.01)
    return model, AnalogOptimizer(model, 0.1, digital)


def data(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(120, 8, generator=draw)
    return x, (x @ torch.randn(8, 3, generator=draw)).argmax(1)


def train(model: nn.Module, optimizer: AnalogOptimizer, scheduler: Any, first: int, last: int) -> float:
    x, y = data()
    loss = torch.zeros(())
    for step in range(first, last):
        at = step * 10 % 120
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[at : at + 10]), y[at : at + 10])
        loss.backward()
        optimizer.step()
        scheduler.step()
    return loss.item()


def schedule(optimizer: AnalogOptimizer) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.5)


@pytest.mark.parametrize("update", ["expected", "counts"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_ends_with_the_same_bits(kind: str, update: str) -> None:
    algorithm: dict[str, Any] = {"kind": kind}
    if kind != "mixed_precision":
        algorithm["update"] = {"kind": update}
    if kind not in ("analog_sgd", "multi_tile", "mixed_precision"):
        algorithm |= {"columns": 5, "read_noise": 0.02, "calibration": {"kind": "zero_shift", "pulses": 50}}
    model, optimizer = setup(algorithm, ROUGH)
    scheduler = schedule(optimizer)
    train(model, optimizer, scheduler, 0, 9)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()], file)
    train(model, optimizer, scheduler, 9, 20)

    file.seek(0)
    states = torch.load(file, weights_only=True)
    again, resumed = setup(algorithm, ROUGH)
    rescheduled = schedule(resumed)
    for part, state in zip((again, resumed, rescheduled), states, strict=True):
        part.load_state_dict(state)
    train(again, resumed, rescheduled, 9, 20)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    for name, layer in optimizer.layers.items():
        one, two = layer.algorithm.checkpoint(), resumed.layers[name].algorithm.checkpoint()
        assert one["steps"] == two["steps"] == 20
        assert one["pulses"] == two["pulses"]
        for tensor in one["tensors"]:
            assert torch.equal(one["tensors"][tensor], two["tensors"][tensor]), tensor


@pytest.mark.parametrize("kind", ["residual", "e_rider", "mixed_precision"])
def test_it_learns(kind: str) -> None:
    algorithm: dict[str, Any] = {"kind": kind}
    if kind != "mixed_precision":
        algorithm["columns"] = 4
    model, optimizer = setup(algorithm)
    x, y = data()
    train(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0), 0, 360)
    assert (model(x).argmax(1) == y).double().mean() > 0.9


def test_a_schedule_reaches_both_and_the_transfers() -> None:
    model, optimizer = setup({"kind": "residual", "columns": 12})
    scheduler = schedule(optimizer)
    train(model, optimizer, scheduler, 0, 8)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.005]
    assert optimizer.digital is not None
    assert optimizer.digital.param_groups[0]["lr"] == 0.005
    seen = []
    layer = optimizer.layers["0"]
    layer.algorithm.transfer = lambda read, cols, beta: seen.append(beta)  # type: ignore[union-attr,method-assign]
    train(model, optimizer, scheduler, 8, 9)
    assert seen == [0.1 * 0.5]


def test_only_pulses_change_weights_in_memory() -> None:
    model, optimizer = setup({"kind": "analog_sgd"})
    layer = optimizer.layers["0"]
    before = layer.weight.detach().clone()
    optimizer.param_groups[0]["lr"] = 0.0
    train(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0), 0, 5)
    assert torch.equal(layer.weight, before)
    assert layer.algorithm.steps == 0


def test_what_cannot_be_trained_is_refused() -> None:
    plain = nn.Linear(3, 2)
    with pytest.raises(ConfigError, match="no layer that learns in memory"):
        AnalogOptimizer(plain, 0.1)
    model, _ = setup({"kind": "analog_sgd"})
    with pytest.raises(ConfigError, match="learning rate of layers in memory is 0: it must be above 0"):
        AnalogOptimizer(model, 0.0)
    with pytest.raises(ConfigError, match=r"which only pulses change: give it digital_parameters\(model\)"):
        AnalogOptimizer(model, 0.1, torch.optim.SGD(model.parameters(), 0.1))


def test_a_gradient_that_is_not_finite_is_refused_with_the_layer() -> None:
    model, optimizer = setup({"kind": "residual"})
    (model(torch.randn(4, 8)).sum() * float("nan")).backward()
    with pytest.raises(TrainingError, match="layer '0': inputs or gradients are not finite"):
        optimizer.step()


def test_another_checkpoint_is_refused() -> None:
    _, optimizer = setup({"kind": "residual"})
    _, other = setup({"kind": "tt_v2"})
    with pytest.raises(ArtifactError, match="the checkpoint does not fit this TTv2: h differ"):
        other.load_state_dict(optimizer.state_dict())
    _, narrower = setup({"kind": "residual"}, {"tau": 0.5})
    with pytest.raises(ArtifactError, match="was made with other devices"):
        narrower.load_state_dict(optimizer.state_dict())
    state = optimizer.state_dict()
    state["in_memory"].pop("2")
    with pytest.raises(ArtifactError, match="of other layers in memory: 2"):
        optimizer.load_state_dict(state)
    model, _ = setup({"kind": "residual"})
    with pytest.raises(ArtifactError, match="differ in having a digital optimizer"):
        AnalogOptimizer(model, 0.1).load_state_dict(optimizer.state_dict())


def test_diagnostics_of_a_run() -> None:
    pulse = {"value": 2.0, "kind": "assumed", "source": "a test"}
    device = {
        "tau": 1.0,
        "states": 200,
        "symmetric_point": {"spread": 0.1},
        "pulse_pj": pulse,
        "pulse_ns": pulse,
    }
    model, optimizer = setup({"kind": "residual", "columns": 3}, device)
    train(model, optimizer, schedule(optimizer), 0, 20)
    found = diagnose(optimizer.layers["0"].algorithm)
    assert found["steps"] == 20
    p, w = found["arrays"]["p"], found["arrays"]["w"]
    assert p["pulses_per_device"] > w["pulses_per_device"] > 0
    assert p["energy_pj"] == pytest.approx(2 * p["pulses_per_device"] * 96)
    assert p["time_ns_per_step"] > 0
    assert 0.07 < p["symmetric_point_spread"] < 0.13
    assert w["from_symmetric_point"] > w["symmetric_point_spread"]
    assert 0.2 < w["rms_by_tau"] < 0.35
    assert found["warnings"] == []
    _, plain = setup({"kind": "residual"})
    assert diagnose(plain.layers["0"].algorithm)["arrays"]["p"]["energy_pj"] is None


def test_weights_at_their_bounds_are_warned_of() -> None:
    _, optimizer = setup({"kind": "analog_sgd"}, {"tau": 0.5, "response": {"kind": "ideal"}})
    algorithm = optimizer.layers["0"].algorithm
    algorithm.program(torch.full((12, 8), 2.0))
    found = diagnose(algorithm)
    assert found["arrays"]["w"]["saturated"] == 1
    assert "100% of the devices are at a bound" in found["warnings"][0]["reason"]
    assert "larger out_scale" in found["warnings"][0]["change"]
    assert "rms of the weights is 1.00 tau" in found["warnings"][1]["reason"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"algorithm": {"kind": "analog_sgd"}}, "analog_sgd: the response draws every weight"),
        ({"device": {"states": 10}}, "residual: 10 states are too few"),
        ({"algorithm": {"kind": "residual", "transfer_lr": 0.8}}, "transfer_lr 0.8 diverges"),
        (
            {"algorithm": {"kind": "residual", "transfer_lr": 0.4, "gamma": 0}},
            "with gamma 0 has nothing to damp",
        ),
        ({"residual_device": {"bias": 0.2}}, "its zero is not calibrated"),
        ({"algorithm": {"kind": "e_rider", "flip_probability": 0.1, "follow": 0.1}}, "follows the signal"),
        ({"algorithm": {"kind": "multi_tile", "every": 5}}, "5 steps are too few"),
    ],
)
def test_settings_known_to_fail_are_warned_of(settings: dict[str, Any], reason: str) -> None:
    (warned,) = advise(InMemory.model_validate(settings))
    assert reason in warned.reason
    assert warned.change


def test_settings_that_work_are_not() -> None:
    assert advise(InMemory()) == []
    ideal = {"device": {"response": {"kind": "ideal"}}, "algorithm": {"kind": "analog_sgd"}}
    assert advise(InMemory.model_validate(ideal)) == []
    calibrated = {
        "residual_device": {"bias": 0.2},
        "algorithm": {"kind": "residual", "calibration": {"kind": "oracle"}},
    }
    assert advise(InMemory.model_validate(calibrated)) == []
