"""The record of an adapter: what nobody could read later is refused when it is read first."""

from __future__ import annotations

from typing import Any

import pytest

from aimc_deploy.artifact.adapter import AdapterRecord
from aimc_deploy.artifact.manifest import validated
from aimc_deploy.errors import ArtifactError

RECORD: dict[str, Any] = {
    "task": "sst2",
    "metric": "accuracy",
    "method": "lora",
    "num_labels": 2,
    "hardware_aware": True,
    "hardware_digest": "c" * 64,
    "base_sha256": "d" * 64,
    "run_sha256": "e" * 64,
    "max_length": 16,
    "parameters": 8,
    "scores": {},
}


def read(**changes: Any) -> AdapterRecord:
    return validated(AdapterRecord, {**RECORD, **changes}, "adapter.json")


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"in_memory": {}}, "in_memory does not name its algorithm"),
        ({"in_memory": {"algorithm": "residual"}}, "in_memory does not name its algorithm"),
        ({"in_memory": {"algorithm": {"kind": 3}}}, "in_memory does not name its algorithm"),
        ({"hardware": "pcm"}, "hardware is no description of it"),
        ({"hardware": None}, "hardware is no description of it"),
        ({"hardware": {"name": 3}}, "hardware.name is no text"),
        ({"hardware": {"dac": "ideal"}}, "hardware.dac is no description of a converter"),
    ],
)
def test_a_training_that_cannot_be_told_is_refused(training: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read(training=training)
    assert str(caught.value) == f"adapter.json: training: {reason}"


def test_what_is_told_of_the_training() -> None:
    pulses = {"in_memory": {"algorithm": {"kind": "residual"}}, "hardware": {"name": "noisy"}}
    found = read(training=pulses)
    assert found.how == "lora, residual in memory"
    assert found.trained_for("0" * 64) == "noisy"
    assert read(training={"in_memory": None}).how == "lora"
    assert read(training={"hardware": {}}).trained_for("0" * 64) == "other hardware"


def test_a_stage_begins_at_a_time() -> None:
    stages = [{"since": "0s", "adapter": "one"}, {"since": "12mo", "adapter": "two"}]
    assert read(stages=stages).at_age(86_400.0) == "one"
    assert read(stages=stages).at_age(3.2e7) == "two"
    with pytest.raises(ArtifactError, match=r"adapter\.json: stages\.0\.since: 'soon' is no time"):
        read(stages=[{"since": "soon", "adapter": "one"}])
