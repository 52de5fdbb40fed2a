"""Results and comparisons as Markdown: the verdict first, every figure in its place, names stay names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_results import chips, results

from aimc_deploy.artifact.comparison import compare
from aimc_deploy.artifact.gate import judge
from aimc_deploy.config.run import Gate
from aimc_deploy.report.markdown import comparison_markdown, results_markdown

ROWS = [*chips(0.9, 0.92), *chips(0.8, 0.82, time="1y"), *chips(0.7, time="1y", adapter="other")]
MEASURED = results(ROWS, {"sst2": 0.95, "other": 0.9})


def cells(line: str) -> list[str]:
    """The cells of a line of a table, as a reader of GitHub's Markdown splits them."""
    return [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]


def table(text: str) -> list[list[str]]:
    return [cells(line) for line in text.splitlines() if line.startswith("|")]


def test_the_verdict_comes_first_and_the_table_has_every_time() -> None:
    verdicts = judge(results(ROWS[:4]), Gate(max_drop=0.2))
    text = results_markdown(results(ROWS[:4]), verdicts)
    assert text.splitlines()[:3] == ["### sst2", "", "**Failed**: 1 of 2 conditions of the gate hold."]
    (failure,) = [line for line in text.splitlines() if line.startswith("- ")]
    assert failure == f"- {verdicts[1].told}"
    assert table(text) == [
        ["adapter", "no hardware", "1d", "1y"],
        [":---", "---:", "---:", "---:"],
        ["sst2", "0.9500", "0.9100 ± 0.0141 (0.7829 to 1.0371)", "0.8100 ± 0.0141 (0.6829 to 0.9371)"],
    ]
    assert text.endswith("of the mean; 872 samples, seed 0, hardware bbbbbbbbbbbb.\n")


def test_what_passed_and_what_nobody_asked() -> None:
    passed = results_markdown(MEASURED, judge(results(ROWS[:2]), Gate(min_accuracy=0.5)), "mine")
    assert passed.startswith("### mine\n\n**Passed**: 1 of 1 conditions of the gate hold.\n\n|")
    assert "No gate was asked for." in results_markdown(MEASURED, [])


def test_a_time_or_a_spread_that_is_not_there_is_left_open() -> None:
    assert table(results_markdown(MEASURED, []))[2] == ["other", "0.9000", "", "0.7000"]
    assert table(results_markdown(results([], {}), [])) == [["adapter", "no hardware"], [":---", "---:"]]
    without = table(results_markdown(results(ROWS[:2], {}), []))
    assert without[2][:2] == ["sst2", ""]


def test_a_comparison_says_what_moved_and_what_else_changed() -> None:
    noise = (0.0, 0.004, -0.003, 0.002)
    before = results([*chips(*(0.9 + part for part in noise)), *chips(0.8, 0.8, adapter="gone")])
    after = results(
        [*chips(*(0.8 + 1.1 * part for part in noise)), *chips(0.8, 0.8, adapter="new")],
        settings={"hardware": {"adc": {"bits": 6}}},
    )
    found = compare(before, after)
    text = comparison_markdown(found)
    assert text.startswith(
        "### sst2: accuracy against the baseline\n\n**Failed**: 2 of 2 comparisons failed.\n\n- sst2 at 1d: "
    )
    shift = found.changes[0].shift
    assert table(text)[:3] == [
        ["adapter", "time", "baseline", "now", "change", "95 % interval", "p", "outcome"],
        [":---", ":---", *["---:"] * 5, ":---"],
        [
            *("sst2", "1d", "0.9008", "0.8008", "-0.0999"),
            f"{shift.ci_low:+.4f} to {shift.ci_high:+.4f}",
            f"{shift.p_worse:.2g}",
            "worse",
        ],
    ]
    assert table(text)[3:] == [
        ["setting", "baseline", "now"],
        [":---"] * 3,
        ["hardware.adc.bits", "not there", "6"],
    ]
    assert "- adapter 'gone' was not evaluated at 1d, as the baseline was" in text
    assert "\n- adapter 'new' was evaluated at 1d, and the baseline was not\n" in text
    back = comparison_markdown(compare(results(after.rows[:4]), results(before.rows[:4])), "mine")
    assert back.startswith("### mine: accuracy against the baseline\n\n**Failed**")


def test_a_comparison_says_what_got_better() -> None:
    before, after = (results(chips(mean, mean + 0.01, mean - 0.01)) for mean in (0.8, 0.9))
    text = comparison_markdown(compare(before, after))
    assert "**Passed**: nothing got worse than is allowed; 1 got better." in text
    assert table(text)[2][-1] == "better"
    assert "each chip was compared with itself (paired t test)" in text
    assert "What else changed" not in text
    other = comparison_markdown(compare(before, after.model_copy(update={"seed": 1})))
    assert "the chips are not the same in both: their seed, samples or numbers differ (Welch" in other
    assert "| seed | 0 | 1 |" in other


@pytest.mark.parametrize("name", ["a|b", "a\nb", "a\\|b", "<img src=x>", "**bold** `code`", "[a](b)", "| a"])
def test_a_name_stays_a_name(name: str) -> None:
    text = results_markdown(results(chips(0.9, 0.9, adapter=name), {name: 0.95}), [])
    head, _, row = table(text)
    assert len(row) == len(head) == 3
    shown = re.sub(r"\\(.)", r"\1", row[0])
    assert shown == " ".join(name.split())
    assert not re.search(r"(?<!\\)[<`*\[]", row[0].replace("\\\\", ""))


@given(st.text(max_size=30))
def test_no_name_breaks_the_table_or_the_list(name: str) -> None:
    measured = results(chips(0.9, 0.8, adapter=name), {name: 0.95}, task=name)
    lines = results_markdown(measured, judge(measured, Gate(min_accuracy=1.0))).split("\n")
    assert [line[:2] for line in lines if line] == ["##", "**", "- ", "| ", "| ", "| ", "Me"]
    assert [len(row) for row in table("\n".join(lines))] == [3, 3, 3]
