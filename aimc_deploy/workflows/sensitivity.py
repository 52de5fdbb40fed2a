"""Sensitivity: which layers cost a task most when they are analog, and which of them to keep digital.

A head to measure with is trained first, without hardware, on a mapping of every layer. Layers are ranked by
what each does to the logits when it alone is analog: the metric of a few hundred samples is too coarse to
tell most of them apart, and is measured beside it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Container
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from aimc_deploy.artifact.bundle import Bundle, work_folder
from aimc_deploy.artifact.contents import check_free
from aimc_deploy.artifact.files import dump_json
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.artifact.sensitivity import FILE, PICTURE, LayerEffect, Sensitivity
from aimc_deploy.config.load import config_digest
from aimc_deploy.config.run import Run
from aimc_deploy.config.times import label, seconds
from aimc_deploy.errors import HardwareError
from aimc_deploy.nn.convert import HEAD, analog_layers
from aimc_deploy.nn.layer_errors import layer_errors
from aimc_deploy.physics.device import device_model
from aimc_deploy.report.layers import sensitivity_picture
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.kinds import score
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import adapt, map
from aimc_deploy.workflows.jobs import open_adapter
from aimc_deploy.workflows.logits import predict
from aimc_deploy.workflows.progress import Progress, Silent
from aimc_deploy.workflows.run import variants


def run(
    config: Run,
    out: Path,
    *,
    max_drop: float,
    chips: int = 2,
    samples: int = 200,
    at: str = "0s",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[map.MapResult, Sensitivity]:
    """Map with the most sensitive layers left digital, as few as hold ``max_drop`` on ``config.task``.

    What was measured is in the bundle as ``sensitivity.json``. An interrupted run continues with the head
    that it has trained.

    Args:
        max_drop: what the task's metric may lose against the model without hardware, as a fraction.
        chips: over which effects are averaged.
        samples: of the task's dev set.
        at: time since programming.

    Raises:
        HardwareError: no mapping with an analog layer holds ``max_drop``.
        DataError: the task's data is missing or malformed.
        ArtifactError: ``out`` exists already.
    """
    progress = progress or Silent()
    device_model(config.hardware.device).check_age(seconds(at))
    check_free(out, overwrite)
    data = load_data(get_task(config.task), None if config.data_dir is None else Path(config.data_dir))
    sample(data.dev, samples, config.seed)  # that there are so many
    # Named by the settings, so that a run with others does not go on with this one's head.
    work = work_folder(out) / f"sensitivity-{config_digest(config)[:12]}"
    trained = _head(config, work, progress)
    measured = _measure(config, work, trained, max_drop, chips, samples, label(seconds(at)), progress)
    mapping = config.hardware.mapping
    mapping = mapping.model_copy(update={"digital": (*mapping.digital, *measured.digital)})
    hardware = config.hardware.model_copy(update={"mapping": mapping})
    mapped = map.run(
        config.model_copy(update={"hardware": hardware}), out, overwrite=overwrite, progress=progress
    )
    assert mapped.bundle is not None
    picture = sensitivity_picture(Bundle.open(work).read_json("tile_map.json"), measured)
    mapped.bundle.put_files(
        {
            FILE: dump_json(measured.model_dump(mode="json"), FILE).encode(),
            PICTURE: picture.encode(),
        }
    )
    shutil.rmtree(work)
    if not any(work.parent.iterdir()):
        work.parent.rmdir()
    return mapped, measured


def _head(config: Run, work: Path, progress: Progress) -> str:
    """Map everything and train an adapter without hardware; the name of it."""
    if not (work / MANIFEST).exists():
        work.parent.mkdir(parents=True, exist_ok=True)
        map.run(config, work, overwrite=True, progress=progress)
    digital = variants(config.model_copy(update={"bundle": str(work), "baselines": ("digital",)}))[0]
    return adapt.run(digital, resume=None, existing="keep", progress=progress).name


def _measure(
    config: Run,
    work: Path,
    adapter: str,
    max_drop: float,
    chips: int,
    samples: int,
    at: str,
    progress: Progress,
) -> Sensitivity:
    task = get_task(config.task)
    model, splits, tokenizer = open_adapter(
        work, adapter, config.hardware, config.seed, config.device, (config.task, config.data_dir, samples)
    )
    features = splits[""]
    layers = {name: layer for name, layer in analog_layers(model.model).items() if not name.startswith(HEAD)}

    def measure() -> tuple[float, np.ndarray]:
        logits = predict(model, features, tokenizer, config.evaluate.batch_size)
        return score(task, logits, features)[task.metric], logits

    def only(analog: Container[str]) -> None:
        for name, layer in layers.items():
            layer.bypassed = name not in analog

    model.digital()
    exact, logits = measure()
    effects: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in layers}
    analog = []
    progress.start("measuring layers", chips * (1 + 2 * len(layers)))
    for chip in range(chips):
        model.program(chip).drift(at)
        only(layers)
        with torch.inference_mode(), layer_errors(model.model) as sqnr:
            analog.append(measure()[0])
        progress.advance(1, f"all analog {analog[-1]:.3f}")
        for name in layers:
            only({name})
            alone, found = measure()
            only(layers.keys() - {name})
            without = measure()[0]
            effects[name].append((sqnr[name], _distance(found, logits), alone, without))
            progress.advance(2)
    ranked = sorted(
        (LayerEffect(layer=name, **_means(found)) for name, found in effects.items()),
        key=lambda effect: (-effect.error, effect.layer),
    )

    def loss(kept: int) -> float:
        """Of the metric, with so many of the most sensitive layers digital."""
        found = []
        for chip in range(chips):
            model.program(chip).drift(at)
            only({effect.layer for effect in ranked[kept:]})
            found.append(measure()[0])
        progress.say(f"{kept} layers digital: {task.metric} {fmean(found):.4f}")
        return exact - fmean(found)

    progress.start("choosing layers", None)
    kept, lost = _fewest(loss, len(ranked), max_drop, exact - fmean(analog))
    digital = tuple(effect.layer for effect in ranked[:kept])
    sizes = {name: layer.weight.numel() for name, layer in layers.items()}
    return Sensitivity(
        task=task.name,
        metric=task.metric,
        samples=samples,
        chips=chips,
        at=at,
        seed=config.seed,
        max_drop=max_drop,
        exact=exact,
        analog=fmean(analog),
        chosen=exact - lost,
        layers=tuple(ranked),
        digital=digital,
        weights=sum(sizes.values()),
        digital_weights=sum(sizes[name] for name in digital),
    )


def _fewest(
    loss: Callable[[int], float], layers: int, max_drop: float, all_analog: float
) -> tuple[int, float]:
    """The fewest layers to keep digital, and the loss then: doubled until it holds, then bisected.

    Raises:
        HardwareError: it does not hold with a single analog layer.
    """
    losses = {0: all_analog}
    low, high = 0, 0
    while losses[high] > max_drop:
        if high == layers - 1:
            raise HardwareError(
                f"even with all but the least sensitive layer digital the metric loses {losses[high]:.4f}, "
                f"more than {max_drop:g}: allow more with --max-drop, or choose less noisy hardware"
            )
        low, high = high, min(max(1, 2 * high), layers - 1)
        losses[high] = loss(high)
    while high - low > 1:
        middle = (low + high) // 2
        losses[middle] = loss(middle)
        low, high = (middle, high) if losses[middle] > max_drop else (low, middle)
    return high, losses[high]


def _distance(found: np.ndarray, exact: np.ndarray) -> float:
    """Root mean square of the difference over that of the exact logits; what is infinite is left out."""
    finite = np.isfinite(exact) & np.isfinite(found)
    difference = found[finite].astype(np.float64) - exact[finite]
    own = float(np.square(exact[finite].astype(np.float64)).mean())
    return math.sqrt(float(np.square(difference).mean()) / own) if own > 0 else 0.0


def _means(found: list[tuple[float, float, float, float]]) -> dict[str, float]:
    means = (fmean(values) for values in zip(*found, strict=True))
    return dict(zip(("sqnr_db", "error", "alone", "without"), means, strict=True))
