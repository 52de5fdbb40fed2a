"""Named random streams: a draw depends on what it is for, never on what was drawn before it."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive_seed(*names: str | int | float) -> int:
    """A 63-bit seed from the path of names, such as ``(seed, "chip", 3, "encoder.0.query", "drift")``."""
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(device: torch.device | str, *names: str | int | float) -> torch.Generator:
    """A generator on ``device`` that yields the same values for the same names on the same kind of device."""
    return torch.Generator(device).manual_seed(derive_seed(*names))


def normal_like(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal values of the shape, type and device of ``like``."""
    return torch.empty_like(like).normal_(generator=generator)
