"""One call of a job's function in another process, whose end can be told from the death of that process."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Elsewhere(Exception):
    """The traceback, as text, of an error that another process raised."""


@dataclass(frozen=True)
class Outcome:
    """What the function gave, or the error it raised."""

    value: Any = None
    error: BaseException | None = None
    trace: str = ""

    def unwrap(self) -> Any:
        """The value, or else the error, raised here."""
        if self.error is not None:
            raise self.error from (Elsewhere(self.trace) if self.trace else None)
        return self.value


@dataclass(frozen=True)
class Call:
    """A function to be called with a job, in the folder that relative paths begin at."""

    function: Callable[[Any], Any]
    folder: str

    @classmethod
    def here(cls, function: Callable[[Any], Any]) -> Call:
        """Wherever it is called, paths mean what they mean in this process now."""
        return cls(function, os.getcwd())

    def __call__(self, job: Any) -> Outcome:
        os.chdir(self.folder)
        try:
            return Outcome(self.function(job))
        except Exception as error:
            trace = f"\n{traceback.format_exc()}"
            try:
                pickle.loads(pickle.dumps(error))
            except Exception:  # then its text has to do
                error = RuntimeError(f"{type(error).__name__}: {error}")
            return Outcome(error=error, trace=trace)
