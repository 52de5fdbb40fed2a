"""The benchmark still builds what it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch


def test_the_model_of_full_size_is_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    from benchmark import models

    plain, analog = models.build()
    assert len(models.analog_names(plain)) == 361
    layers = [module for module in analog.modules() if type(module).__name__ == "AnalogLinear"]
    assert len(layers) == 361
    assert len({tile for layer in layers for tile, _, _ in layer.places}) == 97
    inputs = {
        key: value[:1, :8] if key == "input_ids" else value[:1] for key, value in models.batch().items()
    }
    with torch.no_grad():
        torch.testing.assert_close(analog(**inputs).logits, plain(**inputs).logits, rtol=0.2, atol=0.2)
    sys.modules.pop("benchmark", None)
