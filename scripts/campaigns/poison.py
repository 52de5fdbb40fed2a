"""Numbers that no sound file holds, in weights, adapters, calibration, data and results.

Each is refused by the name of what holds it, or is taken and gives results that are finite.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from small_bundle import sealed
from tiny_deployment import files_of, recipe, write_checkpoint, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import parse_json
from aimc_deploy.artifact.tensors import read_tensors
from aimc_deploy.config.run import Run
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows import adapt, evaluate, map, predict, report
from campaigns import poison_values
from campaigns.cases import Case, Tally, chosen, run
from campaigns.poison_values import Fate, Poison

LAYER = "encoder.layer.0.intermediate.dense"
CHECKPOINT = (
    "embeddings.word_embeddings.weight",
    f"{LAYER}.weight",
    f"{LAYER}.bias",
    "encoder.layer.0.bottleneck.input.LayerNorm.weight",
)
TILES = tuple(f"mobilebert.{LAYER}.0.{part}" for part in ("g_plus", "g_minus", "w_scale"))
DIGITAL = (f"mobilebert.{LAYER}.bias", "mobilebert.embeddings.word_embeddings.weight")
LORA = "adapters/sst2/adapter_model.safetensors"
ADAPTER = tuple(f"base_model.model.mobilebert.{LAYER}.lora_{part}.weight" for part in "AB")
ADAPTER += ("base_model.model.classifier.weight",)
RECORD, SETTINGS = "adapters/sst2/adapter.json", "adapters/sst2/adapter_config.json"
RESULTS = "results/sst2.json"
NOT_A_NUMBER = re.compile(r"(?<![\w-])-?(nan|inf|infinity)(?![\w-])", re.IGNORECASE)
TARGETS: dict[str, dict[str, Fate]] = {
    "g_plus": {
        "1e38 in the first place": "refused",
        "1e38 in the last place": "refused",
        "-1e38 in the first place": "refused",
        "-1e38 in the last place": "refused",
        "1e38 everywhere": "refused",
        "a column of 1e38": "refused",
        "a row of 1e38": "refused",
    },
    "w_scale": {
        **{
            f"{value} in the {at} place": "refused"
            for value in ("-0", "denormal", "-1e38")
            for at in ("first", "last")
        },
        "zeros": "refused",
        "denormals": "refused",
    },
}
TARGETS["g_minus"] = TARGETS["g_plus"]
NUMBERS: dict[str, tuple[dict[str, Any], Fate]] = {
    "r is 0": ({"r": 0}, "refused"),
    "r is -1": ({"r": -1}, "refused"),
    "r is 2.5": ({"r": 2.5}, "refused"),
    "r is a text": ({"r": "2"}, "refused"),
    "r is another": ({"r": 1}, "refused"),
    "r is null": ({"r": None}, "refused"),
    "lora_alpha is 0": ({"lora_alpha": 0}, "refused"),
    "lora_alpha is -0": ({"lora_alpha": -0.0}, "refused"),
    "lora_alpha is negative": ({"lora_alpha": -32}, "refused"),
    "lora_alpha is a text": ({"lora_alpha": "32"}, "refused"),
    "lora_alpha is NaN": ({"lora_alpha": float("nan")}, "refused"),
    "lora_alpha is Infinity": ({"lora_alpha": float("inf")}, "refused"),
    "lora_alpha is 1e-310": ({"lora_alpha": 1e-310}, "taken"),
    "lora_alpha is 1e300": ({"lora_alpha": 1e300}, "either"),
    "another method": ({"peft_type": "IA3"}, "refused"),
    "no layer": ({"target_modules": []}, "refused"),
    "other layers": ({"target_modules": ["nothing"]}, "refused"),
    "a rank of its own for a layer": ({"rank_pattern": {f"mobilebert.{LAYER}": 1}}, "refused"),
}
FIELDS: dict[str, tuple[dict[str, Any], Fate]] = {
    "num_labels is 0": ({"num_labels": 0}, "refused"),
    "num_labels is -1": ({"num_labels": -1}, "refused"),
    "num_labels is 3": ({"num_labels": 3}, "refused"),
    "num_labels is NaN": ({"num_labels": float("nan")}, "refused"),
    "max_length is 0": ({"max_length": 0}, "refused"),
    "max_length is -1": ({"max_length": -1}, "refused"),
    "parameters is -1": ({"parameters": -1}, "refused"),
    "parameters is NaN": ({"parameters": float("nan")}, "refused"),
    "a score is NaN": ({"scores": {"digital": float("nan")}}, "refused"),
    "a score is Infinity": ({"scores": {"digital": float("inf")}}, "refused"),
}


def campaign(folder: Path, size: int | None, seed: int, only: str | None) -> Tally:
    """Every poison in every place."""
    tally = Tally("poison", seed, figures={"refused": 0, "taken, with finite results": 0})
    return run(tally, chosen(list(Bench(folder, tally).cases()), size, seed, only))


class Bench:
    """A tiny deployment, and a copy of the part that a case poisons."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self.folder, self.tally, self.number = folder, tally, 0
        self.checkpoint = write_checkpoint(folder / "checkpoint")
        self.data = write_task(folder / "data", train=16, dev=8)
        self.sound = {kind: folder / f"sound-{kind}" for kind in ("dynamic", "static")}
        for kind, path in self.sound.items():
            config = self._config(path, kind)
            map.run(config, path)
            adapt.run(config)
            evaluate.run(config)

    def cases(self) -> Iterator[Case]:
        yield from self._weights()
        for kind, file, names in (
            ("weights in a bundle", "tiles.safetensors", TILES),
            ("weights in a bundle", "model.safetensors", DIGITAL),
            ("adapter", LORA, ADAPTER),
        ):
            yield from self._tensors(kind, file, names)
        for file, changes in ((SETTINGS, NUMBERS), (RECORD, FIELDS)):
            for label, (change, fate) in changes.items():
                step = partial(self._use, partial(_with_fields, file=file, change=change))
                yield self._case(
                    "adapter", f"{file}: {label}", step, fate, (file.rpartition("/")[2], "adapter")
                )
        yield from self._calibration()
        yield from self._data()
        for label, keys, value, fate in poison_values.json_poisons():
            step = partial(self._use, partial(_with_value, keys=keys, value=value), told=True)
            yield self._case("results", f"results: {label}", step, fate, ("results/sst2", "results of"))

    def _case(
        self,
        kind: str,
        label: str,
        step: Callable[[Path], Path],
        fate: Fate,
        told: tuple[str, ...],
        index: bool = False,
    ) -> Case:
        return Case(kind, label, partial(self._judge, step, fate, told, index))

    def _judge(
        self, step: Callable[[Path], Path], fate: Fate, told: tuple[str, ...], index: bool
    ) -> str | None:
        """What is wrong with what became of a case.

        Args:
            step: does what the commands do in a folder; gives the bundle.
            told: one of these must be in a refusal.
            index: so must the place in the tensor.
        """
        self.number += 1  # a folder of its own: models are kept by the path of their bundle
        place = self.folder / "case" / str(self.number)
        place.mkdir(parents=True)
        try:
            bundle = step(place)
        except AimcError as error:
            self.tally.figures["refused"] += 1
            return _wrong(error, fate, told, index)
        else:
            self.tally.figures["taken, with finite results"] += 1
            return "it was taken" if fate == "refused" else _not_finite(bundle)
        finally:
            shutil.rmtree(place)

    def _config(self, bundle: Path, kind: str = "dynamic", **changes: Any) -> Run:
        settings = {
            "adapt": {"name": "sst2", "gap_weight": 0.0},
            "evaluate": {"chips": 1, "times": ("0s", "1y"), "batch_size": 8},
        }
        config = recipe(bundle, self.checkpoint, self.data, **{**settings, **changes})
        if kind == "dynamic":
            return config
        hardware = config.hardware.model_dump(mode="json")
        hardware["dac"]["input_range"] = {"kind": "static", "method": "max" if kind == "static" else kind}
        return config.model_copy(update={"hardware": type(config.hardware).model_validate(hardware)})

    def _copy(self, place: Path, kind: str = "dynamic") -> Path:
        return Path(shutil.copytree(self.sound[kind], place / "bundle"))

    def _use(
        self, change: Callable[[Path], object], place: Path, kind: str = "dynamic", *, told: bool = False
    ) -> Path:
        """What the commands read of a bundle; ``told`` only reports what is there."""
        bundle = self._copy(place, kind)
        change(bundle)
        config = self._config(bundle, kind)
        if not told:
            evaluate.run(config)
            predict.run(config, ["a good film"], adapter="sst2", at="1y")
        report.run(bundle)
        return bundle

    def _weights(self) -> Iterator[Case]:
        """Poison in a checkpoint, from there all the way to a report."""

        def step(name: str, poison: Poison, place: Path) -> Path:
            checkpoint = Path(shutil.copytree(self.checkpoint, place / "checkpoint"))
            file = checkpoint / "model.safetensors"
            file.write_bytes(poison.change(read_tensors(file), name))
            config = self._config(place / "bundle")
            config = config.model_copy(
                update={"source": config.source.model_copy(update={"path": str(checkpoint)})}
            )
            map.run(config, place / "bundle")
            adapt.run(config)
            evaluate.run(config)
            report.run(place / "bundle")
            return place / "bundle"

        shapes = {
            name: tuple(value.shape)
            for name, value in read_tensors(self.checkpoint / "model.safetensors").items()
        }
        for name in CHECKPOINT:
            for poison in poison_values.poisons(shapes[name], checkpoint=True, fates={}):
                told = (name, "layer '", "gradient", "parameter '")
                yield self._case(
                    "weights",
                    f"checkpoint: {name}: {poison.label}",
                    partial(step, name, poison),
                    poison.fate,
                    told[:1] if poison.fate == "refused" else told,
                    poison.indexed,
                )

    def _tensors(self, kind: str, file: str, names: tuple[str, ...]) -> Iterator[Case]:
        """Poison in a file of a bundle, whose hashes fit."""

        def change(name: str, poison: Poison, bundle: Path) -> None:
            sealed(bundle, {file: poison.change(read_tensors(bundle / file), name)})

        shapes = {
            name: tuple(value.shape) for name, value in read_tensors(self.sound["dynamic"] / file).items()
        }
        for name in names:
            fates = TARGETS.get(name.rpartition(".")[2], {})
            for poison in poison_values.poisons(shapes[name], checkpoint=False, fates=fates):
                told = (name, name.removesuffix(f".0.{name.rpartition('.')[2]}"), "layer '")
                yield self._case(
                    kind,
                    f"{file}: {name}: {poison.label}",
                    partial(self._use, partial(change, name, poison)),
                    poison.fate,
                    told[: 2 if poison.fate == "refused" else 3],
                    poison.indexed,
                )

    def _calibration(self) -> Iterator[Case]:
        """Poison in input ranges, and in what they are calibrated from."""

        def write(layer: str, text: str, bundle: Path) -> None:
            content = json.loads((bundle / RECORD).read_bytes())
            content["input_ranges"][layer] = "PLACE"
            sealed(bundle, {RECORD: json.dumps(content).replace('"PLACE"', text).encode()})

        def drop(layer: str, bundle: Path) -> None:
            content = json.loads((bundle / RECORD).read_bytes())
            del content["input_ranges"][layer]
            sealed(bundle, {RECORD: json.dumps(content).encode()})

        layer = f"mobilebert.{LAYER}"
        for name in (layer, "mobilebert.encoder.layer.0.attention.self.value"):
            for label, (text, fate) in poison_values.RANGES.items():
                step = partial(self._use, partial(write, name, text), kind="static")
                yield self._case(
                    "calibration", f"{name}: {label}", step, fate, (name, "adapter.json", "layer '")
                )
            step = partial(self._use, partial(drop, name), kind="static")
            yield self._case("calibration", f"{name}: missing", step, "refused", (name,))
        step = partial(self._use, partial(write, "other.layer", "[1.0]"), kind="static")
        yield self._case("calibration", "a layer that is not there", step, "refused", ("other.layer",))
        for label, value in (("zeros", 0.0), ("denormals", 1e-40), ("1e30", 1e30), ("3e38", 3e38)):
            for method in ("max", "quantile", "moving_std"):
                step = partial(self._calibrate, method, value)
                fate: Fate = "taken" if value < 1 else "either"
                told = ("layer '", "gradient", "parameter '")
                yield self._case("calibration", f"inputs of {label}, {method}", step, fate, told)

    def _calibrate(self, method: str, value: float, place: Path) -> Path:
        """Ranges from inputs that a poisoned layer before gives."""
        bundle = self._copy(place)
        name, file = "mobilebert.embeddings.LayerNorm.bias", "model.safetensors"
        tensors = read_tensors(bundle / file)
        for part in ("weight", "bias"):
            tensors[name.replace("bias", part)].fill_(value)
        sealed(bundle, {file: poison_values._saved(tensors)})
        config = self._config(bundle, method)
        adapt.run(config, existing="replace")
        evaluate.run(config)
        report.run(bundle)
        return bundle

    def _data(self) -> Iterator[Case]:
        """Poison in the first sample of a file of the task."""
        for split in ("train", "dev"):
            for label, (text, fate) in poison_values.LABELS.items():
                yield self._row(split, f"label: {label}", fate, "tsv", b"a good film", text.encode())
            for label, (text, fate) in poison_values.TEXTS.items():
                yield self._row(split, f"text: {label}", fate, "tsv", text, b"1")
            for label, (text, fate) in poison_values.SCORES.items():
                yield self._row(split, f"score: {label}", fate, "score.tsv", b"a good film", text.encode())
            for label, (text, of_class, of_score) in poison_values.VALUES_OF_JSON.items():
                for kind, fate in (("jsonl", of_class), ("score.jsonl", of_score)):
                    what = "label" if kind == "jsonl" else "score"
                    yield self._row(
                        split, f"{what} in JSON: {label}", fate, kind, b'"a good film"', text.encode()
                    )
                yield self._row(
                    split,
                    f"text in JSON: {label}",
                    "taken" if label == "a text" else "refused",
                    "jsonl",
                    text.encode(),
                    b"1",
                )

    def _row(self, split: str, label: str, fate: Fate, kind: str, text: bytes, value: bytes) -> Case:
        told = (f"{split}.{kind.rpartition('.')[2]}:", f"{split}.{kind}", "layer '", "loss", "gradient")
        step = partial(self._learn, split, kind, text, value)
        return self._case("data", f"{split}: {label}", step, fate, told[: 2 if fate == "refused" else 5])

    def _learn(self, poisoned: str, kind: str, text: bytes, value: bytes, place: Path) -> Path:
        """Train and measure with a first sample of ``text`` and ``value``."""
        data, bundle = place / "data", self._copy(place)
        data.mkdir()
        ending = kind.rpartition(".")[2]
        for split in ("train", "dev"):
            pairs = [(b"a good film", b"1"), (b"a bad book", b"0")] * 4
            if ending == "jsonl":
                pairs = [(b'"%s"' % own, of) for own, of in pairs]
            if ending == "jsonl" and kind == "jsonl":
                pairs = [(own, b'"%s"' % of) for own, of in pairs]
            pairs[0] = (text, value) if split == poisoned else pairs[0]
            form = b"%s\t%s" if ending == "tsv" else b'{"sentence": %s, "label": %s}'
            lines = [b"sentence\tlabel"] * (ending == "tsv") + [form % pair for pair in pairs]
            (data / f"{split}.{ending}").write_bytes(b"\n".join(lines) + b"\n")
        changes: dict[str, Any] = {"data_dir": str(data)}
        if kind.startswith("score"):
            described = {"name": "scores", "kind": "score", "text": ["sentence"], "label": "label"}
            described |= {split: f"{split}.{ending}" for split in ("train", "dev")}
            (data / "scores.yaml").write_text(json.dumps(described))
            changes = {"data_dir": None, "task": str(data / "scores.yaml")}
        adapts = {"name": "new", "epochs": 1.0}
        config = self._config(bundle, adapt=adapts).model_copy(update=changes)
        adapt.run(config)
        evaluate.run(
            config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"adapters": ("new",)})})
        )
        report.run(bundle)
        return bundle


def _wrong(error: AimcError, fate: Fate, told: tuple[str, ...], index: bool) -> str | None:
    """What is wrong with a refusal."""
    message = str(error)
    if fate == "taken":
        return f"it was refused: {message}"
    if error.exit_code != 2:
        return f"it ended with {error.exit_code}: {message}"
    if not any(part in message for part in told):
        return f"the message does not tell of {' or '.join(told)}: {message}"
    if index and re.search(r"\[\d+(, \d+)*\]", message) is None:
        return f"the message does not tell the place: {message}"
    return None


def _not_finite(path: Path) -> str | None:
    """What a bundle holds that is not finite."""
    bundle = Bundle.open(path)
    if problems := bundle.verify():
        return f"the bundle is damaged: {problems}"
    for name, data in files_of(path).items():
        if name.endswith(".json"):
            parse_json(data, name)  # which refuses them
        elif name.endswith(".safetensors"):
            bundle.read_tensors(name)
        elif name.endswith((".html", ".md", ".csv", ".svg")) and (
            found := NOT_A_NUMBER.search(data.decode())
        ):
            return f"{name} says {found[0]!r}: {data.decode()[max(0, found.start() - 60) : found.end() + 20]}"
    return None


def _with_fields(bundle: Path, file: str, change: dict[str, Any]) -> None:
    sealed(bundle, {file: json.dumps(json.loads((bundle / file).read_bytes()) | change).encode()})


def _with_value(bundle: Path, keys: tuple[Any, ...], value: str) -> None:
    """Put a value, as JSON writes it, into the results."""
    content = json.loads((bundle / RESULTS).read_bytes())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = "PLACE"
    sealed(bundle, {RESULTS: json.dumps(content).replace('"PLACE"', value).encode()})
