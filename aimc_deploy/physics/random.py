"""Named random streams: a draw depends on what it is for, never on what else was drawn before it."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from aimc_deploy.physics.kernels import add_normal, add_normal_of, threefry


def derive_seed(*names: str | int | float) -> int:
    """A 63-bit seed from the path of names, such as ``(seed, "chip", 3, "encoder.0.query", "drift")``."""
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Stream:
    """Standard normal values for one purpose; each draw goes on where the last one ended.

    On a CPU a draw is counter-based, so that it is the same on any number of threads and several times as
    fast as torch's own generator, which is serial there. Elsewhere it is torch's generator of the device.

    Args:
        device: of the values.
        seed: of the whole stream; None follows a generator, whose state is all that there is to save.
        generator: the one to follow, on the same device; None is torch's own, which a trainer saves.
    """

    def __init__(
        self, device: torch.device | str, seed: int | None, generator: torch.Generator | None = None
    ) -> None:
        self.device = torch.device(device)
        self.seed = seed
        self._draws = 0
        self._generator = generator
        if self.device.type not in ("cpu", "meta") and seed is not None:
            self._generator = torch.Generator(self.device).manual_seed(seed)

    def next_key(self) -> int:
        """Key of the next draw by a kernel, 64 bits without the highest."""
        if self.seed is None:
            return int(torch.randint(2**63 - 1, (), generator=self._generator))
        self._draws += 1
        return int(threefry(self.seed, self._draws & 0xFFFFFFFF, self._draws >> 32)) >> 1

    def add_to_(self, values: Tensor, sigma: float, gain: float = 1.0) -> Tensor:
        """``values = gain * values + sigma * N``, in place."""
        if not values.numel():
            return values
        if self.device.type != "cpu":
            drawn = torch.empty_like(values).normal_(generator=self._generator)
            return values.mul_(gain).add_(drawn, alpha=sigma)
        if values.dtype == torch.float32 and values.is_contiguous():
            flat = values.detach().view(-1, values.shape[-1]) if values.dim() else values.detach().view(1, 1)
            add_normal(*flat.shape, flat.numpy(), sigma, gain, self.next_key())
            return values
        drawn = self.add_to_(torch.zeros(values.shape), 1.0)
        return values.mul_(gain).add_(drawn.to(values.dtype), alpha=sigma)

    def add_of_(self, values: Tensor, variance: Tensor, scale: float) -> Tensor:
        """``values = values + scale * sqrt(variance) * N``, in place; every value has a variance of its own.

        What rounding has brought below 0 counts as 0.
        """
        plain = values.dtype == torch.float32 == variance.dtype and values.dim() == 2 and values.numel() > 0
        if plain and self.device.type == "cpu" and values.is_contiguous() and variance.is_contiguous():
            add_normal_of(*values.shape, values.numpy(), variance.numpy(), scale, self.next_key())
            return values
        return values.addcmul_(self.normal_like(values), variance.clamp(min=0).sqrt_(), value=scale)

    def normal_like(self, like: Tensor) -> Tensor:
        """Standard normal values of the shape, type and device of ``like``."""
        return self.add_to_(torch.zeros_like(like, memory_format=torch.contiguous_format), 1.0)


def stream(device: torch.device | str, *names: str | int | float) -> Stream:
    """A stream on ``device`` that yields the same values for the same names on the same kind of device."""
    return Stream(device, derive_seed(*names))
