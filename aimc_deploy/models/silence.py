"""Silence: what other libraries would print is no part of what a user of this one reads."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import transformers
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from huggingface_hub.utils import logging as hub_logging


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep transformers, PEFT and huggingface_hub from printing, and leave their settings as they were."""
    ours, hub = transformers.logging.get_verbosity(), hub_logging.get_verbosity()
    bars, hub_bars = transformers.logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        hub_logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        disable_progress_bars()
        try:
            yield
        finally:
            transformers.logging.set_verbosity(ours)
            hub_logging.set_verbosity(hub)
            if bars:
                transformers.logging.enable_progress_bar()
            if hub_bars:
                enable_progress_bars()
