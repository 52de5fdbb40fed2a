"""The ledger: what a base with an adapter for each task needs, against a programmed model for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FP32 = 4  # bytes of a digital parameter
DEVICES = 2  # of an analog weight: a differential pair


@dataclass(frozen=True)
class Ledger:
    """Parameters of a base and its adapters.

    Attributes:
        analog: weights on tiles, written once.
        digital: everything else of the model (embeddings, biases, normalisation), shared by all tasks.
        adapters: parameters of the adapter of each task, its head included.
    """

    analog: int
    digital: int
    adapters: Mapping[str, int]

    @property
    def one_base(self) -> int:
        """Parameters of one base and the adapters of all tasks."""
        return self.analog + self.digital + sum(self.adapters.values())

    @property
    def programmed_each(self) -> int:
        """Parameters if each task had its weights on tiles of its own, and all shared the digital ones.

        The heads that these models would have too are left out, to their advantage.
        """
        return self.digital + len(self.adapters) * self.analog

    def told(self) -> dict[str, Any]:
        """Plain data: parameters, the memory of the digital ones in bytes, the devices of the analog ones."""
        return {
            "analog": {"parameters": self.analog, "devices": DEVICES * self.analog},
            "digital": {"parameters": self.digital, "bytes": FP32 * self.digital},
            "adapters": {
                task: {"parameters": own, "bytes": FP32 * own} for task, own in self.adapters.items()
            },
            "one_base": self.one_base,
            "programmed_each": self.programmed_each,
        }
