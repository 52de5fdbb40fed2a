"""The processes of one run: torchrun or accelerate launch starts several, and each computes part of a batch.

What a process knows of itself stands in its environment. torch is imported only where one needs another, so
that the command line may ask.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aimc_deploy.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE_S = 5.0
"""How long a process waits to be ended by the launcher before it tells of an error that another may tell."""

_FOREVER = timedelta(days=30)  # the others wait while the first one measures or writes


@dataclass(frozen=True)
class Processes:
    """This process among those of its run.

    Attributes:
        rank: which one it is, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, prints and measures."""
        return self.rank == 0

    def part(self, samples: int) -> slice:
        """The samples of a batch that are this process's: as many as every other's, or one more or less."""
        return slice(samples * self.rank // self.count, samples * (self.rank + 1) // self.count)

    def wait(self) -> None:
        """Until every process has come here."""
        if self.count > 1:
            from torch import distributed

            with together():
                distributed.barrier()

    def agree(self, text: str) -> bool:
        """Whether every process has the same text."""
        if self.count == 1:
            return True
        from torch import distributed

        found: list[object] = [None] * self.count
        with together():
            distributed.all_gather_object(found, text)
        return len(set(found)) == 1

    def total(self, value: Tensor) -> Tensor:
        """The sum of the values of all processes."""
        if self.count > 1:
            from torch import distributed

            value = value.clone()
            with together():
                distributed.all_reduce(value)
        return value


def this_process() -> Processes:
    """What the environment says; one process where it says nothing.

    Raises:
        ConfigError: it does not make sense.
    """
    rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        return Processes()
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise ConfigError(
            f"the environment has RANK={rank} and WORLD_SIZE={count}: start several processes with torchrun "
            "or accelerate launch, or unset both for one"
        )
    return Processes(int(rank), int(count))


def join(device: str) -> Processes:
    """Meet the other processes, once; on CUDA each gets the GPU of its number on its machine.

    Raises:
        ConfigError: there is no GPU for each of them, or they were not started by a launcher.
    """
    here = this_process()
    if here.count == 1:
        return here
    import torch
    from torch import distributed

    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"device '{device}' cannot be shared by {here.count} processes: choose auto, cpu or cuda, of "
            "which each gets one"
        )
    gpu = int(os.environ.get("LOCAL_RANK", here.rank))
    if cuda:
        if gpu >= torch.cuda.device_count():
            raise ConfigError(
                f"{torch.cuda.device_count()} GPUs are here, too few for process {gpu} (counted from 0) of "
                "this machine: start as many processes as there are GPUs, or choose --device cpu"
            )
        torch.cuda.set_device(gpu)
    if not distributed.is_initialized():
        try:
            with together():
                distributed.init_process_group(
                    "nccl" if cuda else "gloo",
                    timeout=_FOREVER,
                    device_id=torch.device("cuda", gpu) if cuda else None,
                )
        except ValueError as error:  # a variable is missing
            raise ConfigError(
                f"WORLD_SIZE is {here.count}, but the processes cannot find each other ({error}): start them "
                "with torchrun or accelerate launch"
            ) from None
    return here


def leave() -> None:
    """Part from the other processes when all is done."""
    if this_process().count > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Around what needs every process: if one is gone, so is the run.

    Raises:
        TrainingError: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        time.sleep(PATIENCE_S)  # the launcher ends this process, and the other has said why
        raise TrainingError(
            "another process of this run has ended: its own message, or the launcher's, says why; the last "
            "checkpoint continues with --resume"
        ) from error


def _is_loss(error: RuntimeError) -> bool:
    """Whether the connection to another process broke; gloo has no type of error of its own."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)
