"""The benchmark still builds what it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.physics.conductance import clip_weights


def test_training_in_memory_is_measured_in_each_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    from benchmark import in_memory

    monkeypatch.setattr(in_memory, "EPOCH", 20 * in_memory.BATCH)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    figures = in_memory.measure(20)
    torch.set_num_threads(threads)
    assert len({figure.what for figure in figures}) == 2 * len(in_memory.CASES) + 1
    # 2.7 to 5.7 (docs/performance.md); a step that did nothing would be below 1, a dense one was at 14.
    assert all(1.2 < figure.value < 12 for figure in figures), figures
    sys.modules.pop("benchmark", None)


def test_the_model_of_full_size_is_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    from benchmark import models

    plain, analog = models.build()
    assert len(models.analog_names(plain)) == 361
    layers = [module for module in analog.modules() if type(module).__name__ == "AnalogLinear"]
    assert len(layers) == 361
    assert len({tile for layer in layers for tile, _, _ in layer.places}) == 97
    mapping = Hardware().mapping
    for layer in layers:
        held = clip_weights(plain.get_submodule(layer.name).weight, mapping.clip)
        torch.testing.assert_close(layer.weight, held, rtol=1e-6, atol=1e-8)
    sys.modules.pop("benchmark", None)
