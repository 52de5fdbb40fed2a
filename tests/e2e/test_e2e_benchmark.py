"""The benchmark still builds what it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.physics.conductance import clip_weights


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
