"""YAML that a stranger wrote: plain data with its lines, or one clear refusal."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from aimc_deploy.config.yaml_file import MAX_BYTES, MAX_DEPTH, MAX_ITEMS, Document, parse_yaml, read_yaml
from aimc_deploy.errors import ConfigError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
DATA = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=6), part, max_size=3),
    max_leaves=12,
)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "here")
    return str(caught.value)


def test_every_part_has_its_line() -> None:
    document = parse_yaml("# a\na:\n  b: 1\n  c:\n  - x\n  -\n    d: 2\n", "here")
    assert document.data == {"a": {"b": 1, "c": ["x", {"d": 2}]}}
    assert document.places == {
        (): "here:2",
        ("a",): "here:2",
        ("a", "b"): "here:3",
        ("a", "c"): "here:4",
        ("a", "c", 0): "here:5",
        ("a", "c", 1): "here:7",
        ("a", "c", 1, "d"): "here:7",
    }


@given(DATA)
@example({"on": "off", "1": 1, "null": "null", "": [""]})
def test_what_yaml_writes_of_plain_data_is_read_back(data: Any) -> None:
    assert parse_yaml(yaml.safe_dump(data), "here").data == data


def outcome(read: Callable[[], Document]) -> str:
    """Where the data begins, or the refusal; any other exception is a failure."""
    try:
        return read().places.get((), "empty")
    except ConfigError as error:
        return str(error)


@given(st.text(max_size=60))
@example("a: &b [*b]")
@example("0: 2001-99-99")
@example("%YAML 9.9\n---\na")
@example("!<")
@example("? ? ?")
def test_any_text_is_data_or_a_refusal_that_names_the_file(text: str) -> None:
    assert outcome(lambda: parse_yaml(text, "here")).startswith(("here:", "empty"))


@given(st.binary(max_size=60))
@example(b"\xff\xfea\x00")
@example(b"\xef\xbb\xbfa: 1")
def test_any_bytes_are_data_or_a_refusal_that_names_the_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.yaml"
        path.write_bytes(content)
        assert outcome(lambda: read_yaml(path)).startswith((f"{path}:", "empty"))


HALF, HALF_A_PAIR = "\\ud800", "half of a surrogate pair, which is no character; leave it out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "here:2: 'a' is there twice; remove one"),
        ("b:\n  a: 1\n  c: 2\n  'a': 2\n", "here:4: 'a' is there twice; remove one"),
        ("a: 1\n? [b]\n: 1\n", "here:2: a key must be a plain word"),
        ("a: 1\n{}: 1\n", "here:2: a key must be a plain word"),
        ("a: 1\nb: &c 1\n", "here:2: anchors and aliases (& and *) are not taken; write it out"),
        ("a: 1\n&c b: 1\n", "here:2: anchors and aliases (& and *) are not taken; write it out"),
        ("a: 1\nb: [1, &c [2]]\n", "here:2: anchors and aliases (& and *) are not taken; write it out"),
        ("a: 1\nb: *c\n", "here:2: anchors and aliases (& and *) are not taken; write it out"),
        ("a: 1\nb: !x 1\n", "here:2: tags such as !x are not taken; remove it"),
        ("a: !!int 1\n", "here:1: tags such as tag:yaml.org,2002:int are not taken; remove it"),
        ("a: !!set {b}\n", "here:1: tags such as tag:yaml.org,2002:set are not taken; remove it"),
        ("a: 2001-99-99\n", "here:1: '2001-99-99' cannot be read (month must be in 1..12)"),
        ("a: 1\nb: '\n", "here:3: is no valid YAML (found unexpected end of stream)"),
        ("a: 1\n\tb: 1\n", "here:2: is no valid YAML (found character '\\t' that cannot start any token)"),
        ("a: 1\n---\nb: 1\n", "here:2: is no valid YAML (but found another document)"),
        ('a: 1\nb: "\\ud800"\n', f"here:2: '{HALF}' holds {HALF_A_PAIR}"),
        ('a: 1\n"\\ud800": 1\n', f"here:2: '{HALF}' holds {HALF_A_PAIR}"),
        ("a: 1\n\nb: \x07\n", "here:3: is no valid YAML (unprintable character 0x07)"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_line(text: str, message: str) -> None:
    assert refusal(text) == message


def test_a_tag_that_would_run_something_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    text = f"seed: 1\na: !!python/object/apply:os.mkdir ['{trace}']\n"
    yaml.unsafe_load(text)
    trace.rmdir()  # it would have
    assert refusal(text).startswith("here:2: tags such as tag:yaml.org,2002:python/object/apply:os.mkdir")
    assert not trace.exists()


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert parse_yaml("<<: {a: 1}\nb: 2\n", "here").data == {"<<": {"a": 1}, "b": 2}


def test_a_few_lines_cannot_grow() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 10)]
    start = time.process_time()
    assert refusal("\n".join(lines)).startswith("here:1: anchors")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("pair", ["[]", "{}", "- ", "? "])
def test_depth_is_limited(pair: str) -> None:
    opening, closing = {"[]": ("[", "]"), "{}": ("{a: ", "}"), "- ": ("- ", ""), "? ": ("? ", "")}[pair]
    text = opening * MAX_DEPTH + "1" + closing * MAX_DEPTH
    if pair != "? ":  # a mapping is no key, however deep
        parse_yaml(text, "here")
    message = f"here:1: is nested more than {MAX_DEPTH} levels deep"
    assert refusal(opening + text + closing) == message
    start = time.process_time()
    assert refusal(opening * 100_000 + closing * 100_000) == message
    assert time.process_time() - start < 1


def test_a_number_of_many_digits_is_refused() -> None:
    assert refusal("a:\n  b: " + "9" * 10_000).startswith(f"here:2: '{'9' * 60}' cannot be read (")


def test_size_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_bytes(b"a: 1\n#" + b"x" * (MAX_BYTES - 6))
    assert read_yaml(path).data == {"a": 1}
    path.write_bytes(b"a: 1\n#" + b"x" * (MAX_BYTES - 5))
    with pytest.raises(ConfigError, match=r"long\.yaml: is larger than the 262,144 bytes a recipe may have"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("content", "line"), [(b"\xff\xfea\x00", 1), (b"a: 1\n\nb: \xe9\n", 3), (b"\x89PNG\r\n\x1a\n", 1)]
)
def test_what_is_no_text_is_refused_with_its_line(tmp_path: Path, content: bytes, line: int) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value) == f"{path}:{line}: is not UTF-8; save it as UTF-8"


def test_a_number_without_a_point_and_exponent_is_text() -> None:
    # YAML 1.1; where the configuration wants a number it takes the text for one.
    assert parse_yaml("[2e-4, 2.0e-4, 1e3]", "here").data == ["2e-4", 2.0e-4, "1e3"]


def test_more_keys_and_values_than_anybody_writes_are_refused() -> None:
    text = "".join(f"k{at}: 1\n" for at in range(MAX_ITEMS // 2 + 1))
    assert refusal(text) == f"here:{MAX_ITEMS // 2}: holds more than 20,000 keys and values; shorten it"


def test_a_number_that_no_float_reaches_is_refused_in_any_notation() -> None:
    """YAML's base 60 makes numbers that Python refuses to print."""
    assert "cannot be read (the number is too large)" in refusal("a: 1" + ":59" * 300)
    assert "cannot be read (the number is too large)" in refusal("a: 0x1" + "0" * 300)
    assert parse_yaml("a: 0x1" + "0" * 255, "here").data == {"a": 16**255}


@pytest.mark.parametrize(
    "text", ["1" + ":59" * 80_000, "9" * 250_000, "0x" + "f" * 250_000, "1." + "9" * 2_047]
)
def test_a_long_number_is_refused_before_it_is_reckoned(text: str) -> None:
    start = time.process_time()
    assert "cannot be read (the number is too long)" in refusal(f"a: {text}")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("part", ["b\n\n", "b ", "\n", "#\n"])
def test_no_recipe_of_the_largest_size_takes_long(tmp_path: Path, part: str) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(("a: '" + part * MAX_BYTES)[: MAX_BYTES - 1] + "'")
    start = time.process_time()
    read_yaml(path)
    assert time.process_time() - start < 2  # half of one where nothing else runs
