"""The shapes of a model from its configuration alone, for planning: no weights are read or downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from aimc_deploy.config.run import Source
from aimc_deploy.errors import ModelError
from aimc_deploy.models.bundled import BUNDLED
from aimc_deploy.models.checkpoint import brief
from aimc_deploy.models.silence import silence


def load_skeleton(source: Source) -> PreTrainedModel:
    """A model with a head for classes on the device ``meta``, of any family that transformers has one for.

    Decoders too: a plan needs no tokenizer and nothing to be trained.

    Raises:
        ModelError: there is no configuration, or no such model can be built from it.
    """
    place = str(BUNDLED) if source.path is None else os.path.expanduser(source.path)
    if os.path.isdir(place) and not (Path(place) / "config.json").is_file():
        raise ModelError(f"{place}: no config.json, which is all that a plan needs: put it there")
    try:
        with silence(), torch.device("meta"):
            config = AutoConfig.from_pretrained(place, revision=source.revision, trust_remote_code=False)
            model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except Exception as error:  # of the hub, of a configuration, of a family: they have no common type
        raise ModelError(
            f"no model can be planned from the configuration of '{source.path or place}' ({brief(error)}): "
            "give a folder with a config.json or a hub id of a model that transformers can classify with"
        ) from None
    assert isinstance(model, PreTrainedModel)
    return model
