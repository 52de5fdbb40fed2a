"""Which layers cost a task most, and the fewest that have to stay digital."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.sensitivity import FILE, Sensitivity
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, DataError, HardwareError
from aimc_deploy.workflows import report, sensitivity

Configure = Callable[..., Run]
LEARNS = {"epochs": 8.0, "learning_rate": 2.0e-2, "checkpoint_steps": 100}


def noisy(config: Run, noise: float) -> Run:
    hardware = config.hardware.model_copy(update={"output_noise": noise})
    return config.model_copy(update={"hardware": hardware})


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, configure: Configure) -> tuple[Path, Sensitivity]:
    out = tmp_path_factory.mktemp("sensitive") / "b"
    config = noisy(configure(out, adapt=LEARNS), 0.3)
    return out, sensitivity.run(config, out, max_drop=0.02, chips=2, samples=40)[1]


def test_every_layer_is_measured_alone_and_left_out(measured: tuple[Path, Sensitivity]) -> None:
    out, found = measured
    assert found.exact > 0.65, "there is something to lose"
    assert found.analog < found.exact - 0.02
    assert [effect.error for effect in found.layers] == sorted(
        (effect.error for effect in found.layers), reverse=True
    )
    plan = Bundle.open(out).read_json("tile_map.json")
    kept = {entry["layer"] for entry in plan["analog"]}
    assert kept.isdisjoint(found.digital)
    assert kept | set(found.digital) == {effect.layer for effect in found.layers}
    # What is alone on the tiles does less than all of them together.
    assert all(effect.alone > found.analog for effect in found.layers)
    assert {effect.sqnr_db for effect in found.layers} != {found.layers[0].sqnr_db}


def test_the_most_sensitive_stay_digital_and_the_budget_holds(measured: tuple[Path, Sensitivity]) -> None:
    out, found = measured
    assert found.digital == tuple(effect.layer for effect in found.layers[: len(found.digital)])
    assert 0 < len(found.digital) < len(found.layers)
    assert found.exact - found.chosen <= found.max_drop
    reasons = {
        entry["layer"]: entry["reason"] for entry in Bundle.open(out).read_json("tile_map.json")["digital"]
    }
    assert all("kept digital" in reasons[name] for name in found.digital)
    weights = Bundle.open(out).read_json("tile_map.json")["weights"]
    assert weights == found.weights - found.digital_weights


def test_it_is_in_the_bundle_and_on_the_page(measured: tuple[Path, Sensitivity]) -> None:
    out, found = measured
    bundle = Bundle.open(out)
    assert Sensitivity.model_validate(bundle.read_json(FILE)) == found
    assert bundle.verify() == []
    assert not out.with_name("b.work").exists()
    page = report.run(out).path.read_text()
    assert "Layers that were kept digital" in page
    assert f"{len(found.digital)} of {len(found.layers)} layers" in " ".join(page.split())


def test_exact_hardware_keeps_everything_analog(tmp_path: Path, configure: Configure) -> None:
    config = configure(tmp_path / "b", adapt={"epochs": 0.3}, hardware="ideal")
    mapped, found = sensitivity.run(config, tmp_path / "b", max_drop=0.0, chips=1, samples=20)
    assert found.digital == ()
    assert found.analog == found.exact == found.chosen
    assert max(effect.error for effect in found.layers) < 1e-4
    assert mapped.bundle is not None


def test_mistakes_are_told_before_anything_is_trained(
    tmp_path: Path, configure: Configure, mapped: Path
) -> None:
    with pytest.raises(DataError, match="100000 samples asked for"):
        sensitivity.run(configure(tmp_path / "b"), tmp_path / "b", max_drop=0.1, samples=100_000)
    with pytest.raises(ArtifactError, match="has a bundle already"):
        sensitivity.run(configure(mapped), mapped, max_drop=0.1)
    config = configure(tmp_path / "b", hardware="neurram")
    with pytest.raises(HardwareError, match="measured at 0s, 1d and 2d only"):
        sensitivity.run(config, tmp_path / "b", max_drop=0.1, at="1y")
    assert not (tmp_path / "b.work").exists()


def test_an_interrupted_run_goes_on_with_its_head_and_another_with_its_own(
    tmp_path: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    config = configure(out, adapt={"epochs": 0.3})
    with monkeypatch.context() as patch:
        patch.setattr(sensitivity, "_measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sensitivity.run(config, out, max_drop=1.0, chips=1, samples=8)
    assert not out.exists()
    trained: list[bool] = []
    adapt_run = sensitivity.adapt.run

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = adapt_run(*args, **kwargs)
        trained.append(not result.kept)
        return result

    monkeypatch.setattr(sensitivity.adapt, "run", watched)
    other = configure(out, adapt={"epochs": 0.3}, seed=1)
    sensitivity.run(other, out, max_drop=1.0, chips=1, samples=8)
    sensitivity.run(config, out, max_drop=1.0, chips=1, samples=8, overwrite=True)
    assert trained == [True, False]
    assert not out.with_name("b.work").exists()


@pytest.mark.parametrize(("enough", "expected"), [(0, 0), (1, 1), (2, 2), (3, 3), (5, 5), (11, 11), (18, 18)])
def test_the_fewest_are_found(enough: int, expected: int) -> None:
    asked: list[int] = []

    def loss(kept: int) -> float:
        asked.append(kept)
        return 0.0 if kept >= enough else 0.5

    assert sensitivity._fewest(loss, 20, 0.1, loss(0)) == (expected, 0.0)
    assert len(asked) <= 10


def test_what_cannot_hold_is_an_error() -> None:
    with pytest.raises(HardwareError, match=r"the metric loses 0\.5000, more than 0\.1"):
        sensitivity._fewest(lambda kept: 0.5, 20, 0.1, 0.5)


def test_the_distance_of_logits() -> None:
    exact = np.array([[3.0, -np.inf], [4.0, 0.0]])
    found = np.array([[3.0, -np.inf], [4.0, 1.0]])
    assert sensitivity._distance(found, exact) == pytest.approx((1 / 25) ** 0.5)
    assert sensitivity._distance(exact, exact) == 0.0
