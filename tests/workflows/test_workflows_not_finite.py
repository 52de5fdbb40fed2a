"""Values that are not finite, or could not be from this package, end a command and say where they are."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from small_bundle import sealed
from tiny_deployment import files_of
from torch import Tensor

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.tensors import read_tensors
from aimc_deploy.config.run import Run
from aimc_deploy.errors import AimcError, ArtifactError, TrainingError
from aimc_deploy.workflows import adapt, deployed, evaluate, predict
from aimc_deploy.workflows.trainer import GuardedTrainer

Configure = Callable[..., Run]

TILES, DIGITAL, LORA = "tiles.safetensors", "model.safetensors", "adapters/sst2/adapter_model.safetensors"
RECORD, PEFT = "adapters/sst2/adapter.json", "adapters/sst2/adapter_config.json"
LAYER = "mobilebert.encoder.layer.0.attention.self.query"


def write_over(trainer: GuardedTrainer, part: str, value: float, where: str = "data") -> None:
    """Put a value into the first parameter of that name, or into its gradient."""
    model: Any = trainer.model
    parameter = next(own for name, own in model.named_parameters() if part in name)
    with torch.no_grad():
        (parameter if where == "data" else parameter.grad).view(-1)[0] = value


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Something done to a trainer before or after one of its steps."""

    def at(step: int, act: Callable[[GuardedTrainer], None], *, before: bool) -> None:
        compute = GuardedTrainer.__mro__[1].training_step

        def training_step(self: GuardedTrainer, *args: Any, **kwargs: Any) -> Any:
            if before and self.state.global_step == step:
                act(self)
            loss = compute(self, *args, **kwargs)
            if not before and self.state.global_step == step:
                act(self)
            return loss

        monkeypatch.setattr(GuardedTrainer.__mro__[1], "training_step", training_step)

    return at


def refused(bundle: Path, step: Callable[[], object]) -> str:
    """The message of a step that leaves the bundle as it is."""
    before = files_of(bundle)
    with pytest.raises(AimcError) as caught:
        step()
    assert files_of(bundle) == before
    return str(caught.value)


def test_a_layer_that_overflows_ends_training_with_layer_step_and_checkpoint(
    mapped: Path, configure: Configure, spoil: Callable[..., None]
) -> None:
    spoil(3, lambda trainer: write_over(trainer, "query.lora_A", 3.0e38), before=True)
    spoil(3, lambda trainer: write_over(trainer, "query.lora_B", 3.0e38), before=True)
    told = refused(mapped, lambda: adapt.run(configure(mapped)))
    assert told.startswith("the loss is nan at step 3: lower adapt.learning_rate or adapt.weight_noise; ")
    assert f"layer '{LAYER}" in told
    (checkpoint,) = re.findall(r"the last good checkpoint is (\S+)$", told)
    assert Path(checkpoint).name == "checkpoint-2"
    assert (Path(checkpoint) / "adapter_model.safetensors").is_file()


def test_a_parameter_that_is_not_a_number_is_named_and_no_checkpoint_holds_it(
    mapped: Path, configure: Configure, spoil: Callable[..., None]
) -> None:
    spoil(0, lambda trainer: write_over(trainer, "query.lora_A", torch.nan), before=True)
    told = refused(mapped, lambda: adapt.run(configure(mapped)))
    assert f"parameter '{LAYER}.lora_A.default.weight' is not finite at [0, 0]" in told
    assert told.endswith("there is no checkpoint before it")


def test_a_gradient_that_is_not_a_number_never_reaches_a_parameter(
    mapped: Path, configure: Configure, spoil: Callable[..., None]
) -> None:
    spoil(4, lambda trainer: write_over(trainer, "query.lora_B", torch.nan, "grad"), before=False)
    told = refused(mapped, lambda: adapt.run(configure(mapped)))
    assert told.startswith(f"gradients of '{LAYER}.lora_B.default.weight' are not finite at step 4: lower")
    assert told.endswith("checkpoint-4")
    folder = Path(told.rpartition(" ")[2])
    assert all(
        bool(tensor.isfinite().all()) for tensor in read_tensors(folder / LORA.split("/")[-1]).values()
    )


def test_gradients_too_large_to_be_summed_are_an_error_and_no_step_of_zero(
    mapped: Path, configure: Configure, spoil: Callable[..., None]
) -> None:
    spoil(0, lambda trainer: write_over(trainer, "query.lora_B", 1.0e30, "grad"), before=False)
    told = refused(mapped, lambda: adapt.run(configure(mapped)))
    assert told.startswith("the gradients overflow at step 0")


@pytest.mark.parametrize("step", [1, 5])  # of six: before the first checkpoint, and after the last loss
def test_what_an_optimizer_breaks_is_not_kept(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    def broken(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        found = original(self, *args, **kwargs)
        counts.append(0)
        if len(counts) == step + 1:
            with torch.no_grad():
                self.param_groups[0]["params"][0].view(-1)[1] = -torch.inf
        return found

    counts: list[int] = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    told = refused(mapped, lambda: adapt.run(configure(mapped, adapt={"checkpoint_steps": 2})))
    assert re.search(rf"parameter '\S+' is not finite at \[0, 1\] after step {step + 1}: lower", told)


def changed(bundle: Path, file: str, name: str, change: Callable[[Tensor], Tensor]) -> None:
    tensors = read_tensors(bundle / file)
    tensors[name] = change(tensors[name]).contiguous()
    sealed(bundle, {file: safetensors.torch.save(tensors, {"format": "pt"})})


def with_value(value: float) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[0] = value
        return tensor

    return change


CHANGES: list[tuple[str, str, Callable[[Tensor], Tensor], str]] = [
    (TILES, f"{LAYER}.0.g_plus", with_value(torch.nan), "is not finite at [0, 0]"),
    (TILES, f"{LAYER}.0.g_minus", with_value(-1.0), "holds -1 at [0, 0], outside of the conductances"),
    (
        TILES,
        f"{LAYER}.0.g_plus",
        with_value(26.0),
        "holds 26 at [0, 0], outside of the conductances, [0, 25]",
    ),
    (TILES, f"{LAYER}.0.w_scale", with_value(0.0), "holds 0 at [0], outside of the scales above 0"),
    (TILES, f"{LAYER}.0.w_scale", with_value(-0.5), "holds -0.5 at [0], outside of the scales above 0"),
    (TILES, f"{LAYER}.0.w_scale", lambda tensor: tensor.double(), "has torch.float64 of shape (16,)"),
    (DIGITAL, f"{LAYER}.bias", lambda tensor: tensor.double() * 1e300, "is torch.float64"),
    (DIGITAL, f"{LAYER}.bias", lambda tensor: tensor.int(), "is torch.int32"),
    (LORA, f"base_model.model.{LAYER}.lora_A.weight", with_value(torch.inf), "is not finite at [0, 0]"),
    (LORA, f"base_model.model.{LAYER}.lora_A.weight", lambda tensor: tensor.T, "(16, 2)"),
    (LORA, f"base_model.model.{LAYER}.lora_B.weight", lambda tensor: tensor[:0], "(0, 2)"),
    (LORA, f"base_model.model.{LAYER}.lora_B.weight", lambda tensor: tensor.half(), "has torch.float16"),
]


@pytest.mark.parametrize(("file", "name", "change", "told"), CHANGES)
def test_a_tensor_of_a_bundle_that_no_model_can_have_is_named(
    adapted: Path, file: str, name: str, change: Callable[[Tensor], Tensor], told: str
) -> None:
    changed(adapted, file, name, change)
    with pytest.raises(ArtifactError) as caught:
        deployed.load(adapted).set_adapter("sst2")
    assert told in str(caught.value)
    assert name.partition(".lora")[0] in str(caught.value)


def test_a_tensor_that_an_adapter_lacks_or_has_beside_its_own_is_named(adapted: Path) -> None:
    tensors = read_tensors(adapted / LORA)
    name, value = next(iter(tensors.items()))
    sealed(adapted, {LORA: safetensors.torch.save({**tensors, "other": value.clone()}, {"format": "pt"})})
    with pytest.raises(ArtifactError, match="'other' is no tensor of this adapter"):
        deployed.load(adapted).set_adapter("sst2")
    del tensors[name]
    sealed(adapted, {LORA: safetensors.torch.save(tensors, {"format": "pt"})})
    with pytest.raises(ArtifactError, match=f"'{re.escape(name)}' is missing"):
        deployed.load(adapted).set_adapter("sst2")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"r": 0}, "r is 0 and lora_alpha 32"),
        ({"lora_alpha": -1}, "r is 2 and lora_alpha -1"),
        ({"peft_type": "IA3"}, "does not describe a LoRA adapter"),
        ({"r": 4}, "has torch.float32 of shape (2, 48), the model float32 of (4, 48)"),
        ({"target_modules": ["nothing"]}, "does not fit the model"),
    ],
)
def test_settings_of_an_adapter_that_no_training_has_are_told(
    adapted: Path, change: dict[str, Any], told: str
) -> None:
    content = json.loads((adapted / PEFT).read_text()) | change
    sealed(adapted, {PEFT: json.dumps(content).encode()})
    with pytest.raises(ArtifactError, match=re.escape(told)):
        deployed.load(adapted).set_adapter("sst2")


@pytest.fixture(scope="module")
def with_ranges(tmp_path_factory: pytest.TempPathFactory, configure: Configure, mapped_once: Path) -> Path:
    """A bundle whose adapter has static input ranges; not to be written to."""
    path = tmp_path_factory.mktemp("ranges") / "bundle"
    shutil.copytree(mapped_once, path)
    adapt.run(static(configure(path, adapt={"epochs": 0.2, "name": "sst2"})))
    return path


def static(config: Run) -> Run:
    hardware = config.hardware.model_dump(mode="json")
    hardware["dac"]["input_range"] = {"kind": "static"}
    return config.model_copy(update={"hardware": type(config.hardware).model_validate(hardware)})


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ([0.0], f"input_ranges.{LAYER}.0: Input should be greater than or equal to 0.0"),
        ([-1.0], f"input_ranges.{LAYER}.0: Input should be greater"),
        (["1"], f"input_ranges.{LAYER}.0: Input should be a valid number"),
        ([1.0, 1.0], f"layer '{LAYER}' has 2 and its tiles need 1"),
        ([], f"layer '{LAYER}' has 0 and its tiles need 1"),
        (None, f"'{LAYER}' has no range"),
    ],
)
def test_input_ranges_that_fit_no_layer_are_named(
    tmp_path: Path, with_ranges: Path, configure: Configure, ranges: list[Any] | None, told: str
) -> None:
    bundle = Path(shutil.copytree(with_ranges, tmp_path / "bundle"))
    content = json.loads((bundle / RECORD).read_text())
    assert len(content["input_ranges"][LAYER]) == 1
    content["input_ranges"][LAYER] = ranges
    if ranges is None:
        del content["input_ranges"][LAYER]
    sealed(bundle, {RECORD: json.dumps(content).encode()})
    config = static(configure(bundle))
    assert told in refused(bundle, lambda: evaluate.run(config))
    assert told in refused(bundle, lambda: predict.run(config, ["a good film"]))


def test_finite_weights_that_overflow_are_told_by_layer_chip_and_time(
    adapted: Path, configure: Configure
) -> None:
    name = "mobilebert.embeddings.embedding_transformation.bias"
    changed(adapted, DIGITAL, name, lambda tensor: torch.full_like(tensor, 3.0e38))
    told = refused(adapted, lambda: evaluate.run(configure(adapted)))
    assert told.startswith("adapter 'sst2' without hardware: predictions are not finite numbers (layer '")
    with pytest.raises(TrainingError, match=r"predictions are not finite numbers \(layer 'mobilebert\."):
        predict.run(configure(adapted), ["a good film"], chip=1, at="1y")
    assert Bundle.open(adapted).verify() == []
