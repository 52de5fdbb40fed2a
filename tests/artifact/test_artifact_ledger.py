"""The ledger: one base and its adapters against a programmed model for each task."""

from __future__ import annotations

import json

import pytest

from aimc_deploy.artifact.ledger import Ledger

TASKS = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")


def test_it_gives_the_published_figures_from_the_published_counts() -> None:
    """25.3 M parameters, 20.4 M of them on tiles, adapters of 1.6 M: 38.1 M against 168.1 M.

    Source: Li et al., Neuromorphic Computing and Engineering 6, 014011 (2026), and Sun et al., ACL 2020,
    for the 25.3 M of MobileBERT. The split is the only one that gives both sums.
    """
    ledger = Ledger(20_400_000, 25_300_000 - 20_400_000, dict.fromkeys(TASKS, 1_600_000))
    assert ledger.one_base == pytest.approx(38.1e6)
    assert ledger.programmed_each == pytest.approx(168.1e6)


def test_what_it_tells_adds_up() -> None:
    told = Ledger(100, 20, {"sst2": 7, "cola": 8}).told()
    assert json.loads(json.dumps(told)) == told
    assert told["one_base"] == 100 + 20 + 7 + 8
    assert told["programmed_each"] == 20 + 2 * 100
    assert told["analog"] == {"parameters": 100, "devices": 200}
    assert told["adapters"]["cola"] == {"parameters": 8, "bytes": 32}
    assert told["digital"]["bytes"] == 80
