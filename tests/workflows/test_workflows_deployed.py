"""The Python API: a bundle as an ordinary model that can be programmed, aged and switched between tasks."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_deployment import WORDS, files_of
from torch import Tensor, nn

import aimc_deploy
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, ConfigError
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.workflows import adapt
from aimc_deploy.workflows.deployed import DeployedModel

Configure = Callable[..., Run]


@pytest.fixture(scope="module")
def two_once(tmp_path_factory: pytest.TempPathFactory, adapted_once: Path, configure: Configure) -> Path:
    """A bundle with the adapters ``sst2`` and ``other``; not to be written to."""
    path = tmp_path_factory.mktemp("two") / "bundle"
    shutil.copytree(adapted_once, path)
    adapt.run(configure(path, seed=5, adapt={"name": "other", "epochs": 2.0}))
    return path


def tokens() -> dict[str, Tensor]:
    ids = torch.randint(5, len(WORDS), (6, 9), generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@torch.inference_mode()
def logits(model: DeployedModel) -> Tensor:
    return model(**tokens()).logits


@pytest.fixture
def model(two_once: Path) -> DeployedModel:
    return aimc_deploy.load(two_once).set_adapter("sst2")


def test_it_is_called_as_the_transformers_model_inside(model: DeployedModel) -> None:
    assert isinstance(model, nn.Module)
    assert not model.training
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    output = model(**tokens(), labels=labels)
    assert output.logits.shape == (6, 2)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, labels))
    assert model.config.model_type == "mobilebert"
    assert len(model(**tokens(), output_hidden_states=True).hidden_states) == 2
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = model.nonsense


def test_program_drift_and_digital_return_the_model_and_change_what_it_computes(model: DeployedModel) -> None:
    digital = logits(model)
    assert model.program(chip=0) is model
    chip = logits(model)
    assert model.drift("10y") is model
    old = logits(model)
    assert model.digital() is model
    assert torch.equal(logits(model), digital)
    assert not torch.allclose(digital, chip, atol=1e-3)
    assert not torch.allclose(chip, old, atol=1e-3)


def test_a_programmed_chip_is_at_its_first_second(model: DeployedModel) -> None:
    assert torch.equal(logits(model.program(1)), logits(model.program(1).drift("0s")))


@pytest.mark.parametrize(("time", "same"), [("1y", 31536000.0), ("1d", "24h"), ("1h", 3600), ("0s", 0)])
def test_a_time_is_a_word_or_seconds(model: DeployedModel, time: str, same: str | float) -> None:
    assert torch.equal(logits(model.program(0).drift(time)), logits(model.program(0).drift(same)))


@pytest.mark.parametrize("time", ["1 fortnight", -1, "", float("nan")])
def test_what_is_no_time_is_refused(model: DeployedModel, time: str | float) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        model.program(0).drift(time)


def test_drift_needs_a_programmed_chip(model: DeployedModel) -> None:
    with pytest.raises(RuntimeError, match="is not programmed"):
        model.drift("1d")


def test_seed_chip_and_time_fix_the_logits_whatever_came_before(two_once: Path) -> None:
    model = aimc_deploy.load(two_once, seed=2).set_adapter("sst2")
    places = [(chip, time) for chip in range(2) for time in ("0s", "1d", "10y")]
    first = {place: logits(model.program(place[0]).drift(place[1])) for place in places}
    torch.manual_seed(77)
    again = aimc_deploy.load(two_once, seed=2)
    again.program(1)  # before there is an adapter, and another chip
    again.set_adapter("other").program(0).drift("1y")
    logits(again)
    again.set_adapter("sst2")
    for chip, time in reversed(places):
        assert torch.equal(logits(again.program(chip).drift(time)), first[chip, time]), (chip, time)
    # Back and forth on one chip, without programming it again.
    again.program(0)
    for time in ("10y", "0s", "1d", "10y"):
        assert torch.equal(logits(again.drift(time)), first[0, time]), time
    assert all(not torch.equal(first[one], first[two]) for one, two in itertools.combinations(places, 2))
    other = aimc_deploy.load(two_once, seed=3).set_adapter("sst2")
    assert not torch.equal(logits(other.program(0)), first[0, "0s"])


def test_an_adapter_is_switched_on_the_chip_as_it_is(model: DeployedModel) -> None:
    base = model.base_sha256()
    own = logits(model.program(0).drift("1d"))
    assert model.set_adapter("other") is model
    assert model.adapter == "other"
    other = logits(model.drift("1d"))
    assert not torch.allclose(own, other, atol=1e-3)
    fresh = aimc_deploy.load(model.bundle.path).set_adapter("other").program(0).drift("1d")
    assert torch.equal(other, logits(fresh))
    assert torch.equal(logits(model.set_adapter("sst2").drift("1d")), own)
    assert model.base_sha256() == base == model.bundle.manifest.base_sha256


def test_the_chip_holds_while_adapters_change(model: DeployedModel) -> None:
    def weights() -> dict[str, Tensor]:
        layers = [part for part in model.modules() if isinstance(part, AnalogLinear)]
        return {layer.name: torch.cat([part.weight for part in layer._segments or []], 1) for layer in layers}

    model.program(3).drift("1y")
    before = weights()
    model.set_adapter("other")
    after = weights()
    assert len(before) > 5
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_train_and_eval_and_to_are_those_of_a_module(model: DeployedModel) -> None:
    assert model.eval() is model
    assert torch.equal(logits(model), logits(model)), "no dropout"
    assert model.train().training
    assert not torch.equal(logits(model), logits(model)), "dropout"
    model.eval()
    assert model.to("cpu") is model
    assert next(model.parameters()).device.type == "cpu"
    assert not any(parameter.requires_grad for parameter in model.parameters())
    names = [name for name, _ in model.named_parameters()]
    assert any("lora_A" in name for name in names)
    assert len(model.state_dict()) >= len(names)


def test_gradients_flow_through_a_programmed_chip(model: DeployedModel) -> None:
    model.program(0)
    inputs = model.get_input_embeddings()(tokens()["input_ids"]).detach().requires_grad_()
    model(inputs_embeds=inputs).logits.square().sum().backward()
    assert inputs.grad is not None
    assert 0 < float(inputs.grad.abs().max()) < float("inf")


def test_double_precision_is_close_to_single(two_once: Path) -> None:
    """Digital rounding only: the difference is that of 32-bit arithmetic."""
    model = aimc_deploy.load(two_once).set_adapter("sst2")
    single = logits(model)
    torch.testing.assert_close(logits(model.double()).float(), single, rtol=1e-4, atol=1e-4)


def test_loading_and_using_a_bundle_writes_nothing(two_once: Path) -> None:
    before = files_of(two_once)
    logits(aimc_deploy.load(two_once).set_adapter("sst2").program(0).drift("1y"))
    assert files_of(two_once) == before


def test_chips_draw_nothing_from_the_global_generator(model: DeployedModel) -> None:
    state = torch.get_rng_state()
    logits(model.program(0).drift("1y"))
    aimc_deploy.load(model.bundle.path)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_not_there_is_told(tmp_path: Path, model: DeployedModel) -> None:
    with pytest.raises(ArtifactError, match=r"no adapter 'sst3' \(there: other, sst2\)"):
        model.set_adapter("sst3")
    assert model.adapter == "sst2"
    with pytest.raises(ArtifactError, match="is no bundle"):
        aimc_deploy.load(tmp_path)


@pytest.mark.parametrize("file", ["tiles.safetensors", "model.safetensors", "tile_map.json", "config.json"])
def test_a_damaged_bundle_is_refused(tmp_path: Path, mapped: Path, file: str) -> None:
    content = bytearray((mapped / file).read_bytes())
    content[len(content) // 2] ^= 1
    (mapped / file).unlink()
    (mapped / file).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{file} was changed"):
        aimc_deploy.load(mapped)


def test_the_package_names_its_public_parts() -> None:
    assert sorted(aimc_deploy.__all__) == ["__version__", "load"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = aimc_deploy.nothing
