"""Verdicts as JUnit XML, in the form that Jenkins, GitLab and GitHub's actions for test reports read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aimc_deploy.artifact.gate import Judged

# Characters that no XML 1.0 document may hold, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One thing that holds or does not."""

    group: str
    name: str
    failed: bool
    told: str


def junit(judged: Sequence[Judged]) -> bytes:
    """One document: a test suite for each of the results, a test case for each verdict or comparison."""
    root = ET.Element("testsuites", name="aimc-deploy")
    totals = [0, 0]
    for part in judged:
        cases = list(_cases(part))
        counts = len(cases), sum(case.failed for case in cases)
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        suite = ET.SubElement(root, "testsuite", {"name": _legal(part.name), **_counted(*counts)})
        properties = ET.SubElement(suite, "properties")
        for name, value in _properties(part).items():
            ET.SubElement(properties, "property", name=name, value=_legal(value))
        for case in cases:
            group = f"{part.name}.{case.group}"
            element = ET.SubElement(
                suite, "testcase", classname=_legal(group), name=_legal(case.name), time="0"
            )
            if case.failed:
                failure = ET.SubElement(element, "failure", message=_legal(case.told), type="GateFailed")
                failure.text = _legal(case.told)
            else:
                ET.SubElement(element, "system-out").text = _legal(case.told)
    root.attrib.update(_counted(*totals))
    del root.attrib["skipped"]  # of the suites alone
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _counted(tests: int, failures: int) -> dict[str, str]:
    return {"tests": str(tests), "failures": str(failures), "errors": "0", "skipped": "0", "time": "0"}


def _properties(part: Judged) -> dict[str, str]:
    results = part.results
    found = {
        "task": results.task,
        "metric": results.metric,
        "samples": str(results.samples),
        "chips": str(len({row.chip for row in results.rows})),
        "seed": str(results.seed),
        "hardware_digest": results.hardware_digest,
    }
    if part.comparison is not None:
        found["max_loss"] = f"{part.comparison.max_loss:.6g}"
        found["significance"] = f"{part.comparison.significance:.6g}"
    return found


def _cases(part: Judged) -> Iterator[Case]:
    for verdict in part.verdicts:
        name = f"{verdict.adapter} at {verdict.time}: {verdict.condition}"
        yield Case("gate", name, not verdict.passed, verdict.told)
    if part.comparison is None:
        return
    for change in part.comparison.changes:
        name = f"{change.adapter} at {change.time}"
        yield Case("baseline", name, change.outcome == "worse", change.told)
    for missing in part.comparison.missing:
        yield Case("baseline", f"{missing.adapter} at {', '.join(missing.times)}", True, missing.told)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
