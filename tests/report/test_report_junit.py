"""Verdicts as JUnit XML: what Jenkins' schema and the readers of GitLab and GitHub need."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_results import chips, results

from aimc_deploy.artifact.comparison import compare
from aimc_deploy.artifact.gate import Judged, judge
from aimc_deploy.config.run import Gate
from aimc_deploy.report.junit import junit

# Of Jenkins' schema: what an element may have in it, and its attributes, of which those marked must be there.
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "property": set(),
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
    "failure": set(),
    "system-out": set(),
}
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "disabled", "errors"},
    "testsuite": {"name!", "tests!", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id"},
    "properties": set(),
    "property": {"name!", "value!"},
    "testcase": {"name!", "classname", "time", "status", "assertions", "file", "line"},
    "failure": {"type", "message"},
    "system-out": set(),
}


def check(element: ElementTree.Element) -> None:
    """Walk the tree as a validator of the schema does."""
    allowed = {name.rstrip("!") for name in ATTRIBUTES[element.tag]}
    needed = {name[:-1] for name in ATTRIBUTES[element.tag] if name.endswith("!")}
    assert needed <= set(element.attrib) <= allowed, element.tag
    for name in {"tests", "failures", "errors", "skipped", "time"} & set(element.attrib):
        assert int(element.attrib[name]) >= 0
    assert {child.tag for child in element} <= CHILDREN[element.tag]
    for child in element:
        check(child)


def judged(low: float = 0.8, name: str = "sst2", adapter: str = "sst2") -> Judged:
    before = results([*chips(0.9, 0.91, 0.89, adapter=adapter), *chips(0.9, 0.9, adapter="gone")])
    after = results(
        [*chips(0.9, 0.91, 0.89, adapter=adapter), *chips(low, low, adapter="low")],
        {adapter: 0.95, "low": 0.95},
    )
    return Judged(name, after, judge(after, Gate(min_accuracy=0.75, max_drop=0.2)), compare(before, after))


def read(content: bytes) -> ElementTree.Element:
    root = ElementTree.fromstring(content)
    check(root)
    return root


def test_a_suite_has_a_case_for_each_verdict_and_comparison() -> None:
    one, other = judged(0.7), judged(name="other")
    root = read(junit([one, other]))
    assert root.attrib == {"name": "aimc-deploy", "tests": "12", "failures": "4", "errors": "0", "time": "0"}
    first, second = root.findall("testsuite")
    assert [first.get("name"), first.get("tests"), first.get("failures")] == ["sst2", "6", "3"]
    assert [second.get("name"), second.get("tests"), second.get("failures")] == ["other", "6", "1"]
    cases = [(case.get("classname"), case.get("name"), case.find("failure") is None) for case in first]
    assert cases[1:] == [
        ("sst2.gate", "low at 1d: min_accuracy", False),
        ("sst2.gate", "low at 1d: max_drop", False),
        ("sst2.gate", "sst2 at 1d: min_accuracy", True),
        ("sst2.gate", "sst2 at 1d: max_drop", True),
        ("sst2.baseline", "sst2 at 1d", True),
        ("sst2.baseline", "gone at 1d", False),
    ]
    messages = [failure.get("message") for failure in first.iter("failure")]
    assert messages == one.failures == [failure.text for failure in first.iter("failure")]
    told = [part.text for part in first.iter("system-out")]
    assert told[:2] == [verdict.told for verdict in one.verdicts if verdict.passed]


def test_properties_say_what_was_measured() -> None:
    (suite,) = read(junit([judged()]))
    assert {part.get("name"): part.get("value") for part in suite.iter("property")} == {
        "task": "sst2",
        "metric": "accuracy",
        "samples": "872",
        "chips": "3",
        "seed": "0",
        "hardware_digest": "b" * 64,
        "max_loss": "0.005",
        "significance": "0.05",
    }


def test_a_gate_that_passes_has_no_failure() -> None:
    measured = results(chips(0.9, 0.9))
    root = read(junit([Judged("sst2", measured, judge(measured, Gate(max_drop=0.2)))]))
    assert (root.get("failures"), root.findall(".//failure")) == ("0", [])


@given(st.text(max_size=20))
def test_any_name_gives_xml_that_can_be_read(name: str) -> None:
    root = read(junit([judged(name=name, adapter=name or "empty")]))
    assert len(root.findall(".//testcase")) == 6


@pytest.mark.parametrize(("name", "there"), [("a\x00b", "a\ufffdb"), ('<&">', '<&">'), ("\ud800", "\ufffd")])
def test_what_xml_cannot_hold_is_replaced_and_the_rest_is_kept(name: str, there: str) -> None:
    (suite,) = read(junit([judged(name=name)]))
    assert suite.get("name") == there
