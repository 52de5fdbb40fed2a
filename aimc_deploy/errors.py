"""Everything that can go wrong because of what a user gave.

    AimcError                      exit code 2 unless said otherwise
    ├── ConfigError                unknown key, wrong value, wrong file (path, line, dotted key)
    ├── ModelError                 a checkpoint that cannot be had, read or mapped
    ├── DataError                  task data missing or malformed (file, line)
    ├── ArtifactError              a bundle that is missing, damaged, locked or from another version
    ├── SignatureError             a key that does not do; a signature that is missing, stale or wrong
    ├── HardwareError              a hardware description that cannot do what is asked of it
    ├── TrainingError              training that cannot go on (non-finite loss: step, layer)
    ├── ExecutorError              an engine for parallel work that is not installed or cannot be reached
    ├── WorkerLost                 a worker process that died, and died again when its job was tried again
    ├── PointsFailed               points of a sweep that failed or were lost; the others are in its table
    └── GateFailed                 exit code 3: accuracy below what was asked

Each message says what was given, what is allowed and what to do next. Anything else that is raised is
a defect of this package and ends with exit code 1.
"""

from __future__ import annotations


class AimcError(Exception):
    """A mistake a user can mend; ``exit_code`` is what the command line returns for it."""

    exit_code = 2


class ConfigError(AimcError):
    """The configuration is wrong: unknown key, value out of range, unreadable file."""


class ModelError(AimcError):
    """A checkpoint cannot be found, read or mapped."""


class DataError(AimcError):
    """Task data is missing or malformed."""


class ArtifactError(AimcError):
    """A bundle is missing, damaged, locked, or written by an incompatible version."""


class SignatureError(AimcError):
    """A key cannot be used, or a signature is missing, stale or not by that key."""


class HardwareError(AimcError):
    """The hardware described cannot do what is asked of it."""


class TrainingError(AimcError):
    """Training cannot go on."""


class ExecutorError(AimcError):
    """What is to compute in parallel is not installed, or cannot be reached."""


class WorkerLost(AimcError):
    """A worker process died, and died again when its job was tried again."""


class PointsFailed(AimcError):
    """Points of a sweep failed or were lost; the others are in its table."""


class GateFailed(AimcError):
    """Accuracy is below what was asked for."""

    exit_code = 3
