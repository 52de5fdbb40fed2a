"""A user's mistake: one message that names what is wrong, exit code 2, no traceback, nothing on stdout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import Ended, call
from safetensors.torch import load_file, save_file
from tiny_deployment import files_of

from aimc_deploy.tasks.registry import TASKS

WEIGHTS = "model.safetensors"


def refused(*arguments: str | Path) -> str:
    """The message of a command that must end with 2."""
    ended: Ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    return ended.message


@pytest.mark.parametrize("command", ["inspect", "verify", "report", "evaluate", "adapt"])
def test_a_bundle_that_is_missing(tmp_path: Path, data: Path, command: str) -> None:
    there = tmp_path / "nowhere"
    task = ["--task", "sst2", "--data-dir", data] if command in ("evaluate", "adapt") else []
    message = refused(command, "--bundle", there, *task)
    assert message == (
        f"error: {there} is no bundle (it has no manifest.json): make one with `aimc-deploy map`, or name "
        "another folder"
    )
    assert not there.exists()


@pytest.mark.parametrize("command", ["adapt", "evaluate"])
@pytest.mark.parametrize(("task", "near"), [("sst-2", "sst2"), ("zzzz", None), ("", None), ("[b]", None)])
def test_a_wrong_task_lists_those_there_are(
    bundle_once: Path, command: str, task: str, near: str | None
) -> None:
    message = refused(command, "--bundle", bundle_once, "--task", task)
    assert message.startswith(f"error: there is no task '{task}': choose one of {', '.join(TASKS)}")
    assert ("did you mean " in message) == (near is not None)
    assert near is None or f"did you mean {near}" in message


@pytest.mark.parametrize("command", ["map", "adapt", "evaluate", "run", "config show", "config validate"])
def test_an_unknown_key_is_shown_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text("seed: 1\nadapt:\n  lora:\n    rr: 8\n")
    option = [] if command in ("run", "config validate") else ["--config"]
    assert refused(*command.split(), *option, "r.yaml") == (
        "error: r.yaml:4: adapt.lora.rr: unknown key; did you mean 'r'? allowed: alpha, dora, dropout, "
        "layers, r, ranks, rslora"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--chips", "0", "evaluate.chips: Input should be greater than or equal to 1 (given: 0)"),
        ("--times", "0s,soon", "evaluate.times.1: 'soon' is no time: write a number and one of s, min, h"),
        ("--times", "", "evaluate.times.0: '' is no time: write a number and one of s, min, h, d, w"),
        ("--compensation", "some", "evaluate.compensation: Input should be 'none', 'global' or 'per_column'"),
        ("--at", "later", "evaluate.gate.at: 'later' is no time"),
        ("--adapter", "../x", "evaluate.adapters.0: String should match pattern"),
        ("--seed", "-1", "seed: Input should be greater than or equal to 0 (given: -1)"),
        ("--hardware", "pmc", "hardware: there is no hardware preset 'pmc': choose one of 3dcim-default"),
        ("--hardware", "nowhere.yaml", "hardware: nowhere.yaml: cannot be read (No such file or directory)"),
        ("--set", "seed", "--set seed: write KEY=VALUE with a dotted key"),
        ("--set", "sede=1", "sede: unknown key; did you mean 'seed'? allowed: "),
    ],
)
def test_a_wrong_value_of_an_option_is_refused_with_what_is_allowed(
    bundle_once: Path, option: str, value: str, said: str
) -> None:
    message = refused("evaluate", "--bundle", bundle_once, option, value)
    assert message.removeprefix("error: ").removeprefix("command line: ").startswith(said)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--min-accuracy", "80", "'80' is more than all: write 5% or 0.05"),
        ("--max-drop", "nan", "'nan' is no share: write 5% or 0.05"),
    ],
)
def test_a_share_that_is_none_is_refused(bundle_once: Path, option: str, value: str, said: str) -> None:
    ended = call("evaluate", "--bundle", bundle_once, option, value)
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x7fELF\x00\x01", b"a: [1\n", b"- 1\n"])
def test_a_recipe_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.yaml").write_bytes(content)
    assert refused("run", tmp_path / "r.yaml").startswith(f"error: {tmp_path / 'r.yaml'}:")


def test_files_that_cannot_be_read(tmp_path: Path, checkpoint: Path, bundle: Path) -> None:
    """A link to itself is a file that nobody may read, not even the superuser of a test machine."""

    def circle(path: Path) -> Path:
        path.unlink(missing_ok=True)
        path.symlink_to(path.name)
        return path

    recipe = circle(tmp_path / "r.yaml")
    assert refused("run", recipe).startswith(f"error: {recipe}: cannot be read (Too many levels of symb")
    for name in ("config.json", WEIGHTS):
        folder = Path(shutil.copytree(checkpoint, tmp_path / name))
        circle(folder / name)
        assert str(folder) in refused("map", folder, tmp_path / "out")
    table = circle(tmp_path / "train.tsv")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\na\t0\n")
    arguments = ("--task", "sst2", "--data-dir", tmp_path, "--name", "new")
    assert str(table) in refused("adapt", "--bundle", bundle, *arguments)
    circle(bundle / "manifest.json")
    for command in ("inspect", "evaluate"):
        assert str(bundle) in refused(command, "--bundle", bundle)
    assert not (tmp_path / "out").exists()


def without(folder: Path) -> None:
    shutil.rmtree(folder)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def cut(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def noise(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x00\xffnot tensors" * 99)


def changed(change: Callable[[dict[str, torch.Tensor], str], object]) -> Callable[[Path], None]:
    """Write the weights anew, after a change to the first query matrix."""

    def harm(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors, next(name for name in sorted(tensors) if name.endswith("query.weight")))
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return harm


def narrow(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name][:, :-1].contiguous()


def not_a_number(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name][2, 3] = torch.nan


def other_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (without, ["there is no folder", "or a hub id"]),
        (empty, ["the folder is empty"]),
        (cut, [WEIGHTS, "not a safetensors file, or damaged"]),
        (noise, [WEIGHTS, "not a safetensors file, or damaged"]),
        (changed(narrow), ["query.weight", "16", "15"]),
        (changed(not_a_number), ["query.weight", "1 values that are NaN or infinite", "[2, 3]"]),
        (changed(lambda tensors, name: tensors.pop(name)), ["query.weight"]),
        (lambda folder: (folder / "config.json").write_text("{"), ["config.json", "not valid JSON"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["the tokenizer cannot be read"]),
        (other_family, ["'gpt2'", "supported: mobilebert, bert, distilbert, roberta, electra"]),
    ],
)
def test_a_checkpoint_that_cannot_be_mapped(
    tmp_path: Path, checkpoint: Path, harm: Callable[[Path], object], said: list[str]
) -> None:
    harm(checkpoint)
    message = refused("map", checkpoint, tmp_path / "out")
    assert str(checkpoint) in message
    assert [word for word in said if word not in message] == []
    assert not (tmp_path / "out").exists()


def test_a_folder_to_write_to_that_is_taken(tmp_path: Path, checkpoint: Path, bundle: Path) -> None:
    before = files_of(bundle)
    assert refused("map", checkpoint, bundle) == (
        f"error: {bundle} has a bundle already: choose another OUT or replace it with --overwrite"
    )
    assert files_of(bundle) == before
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert str(tmp_path / "file") in refused("map", checkpoint, out)
    assert refused("map", checkpoint, checkpoint).startswith(f"error: {checkpoint}")
    assert refused("map", checkpoint, checkpoint, "--overwrite").startswith(f"error: {checkpoint}")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_adapter_that_is_missing_or_of_another_task(bundle: Path, data: Path) -> None:
    shared = ("--bundle", bundle, "--data-dir", data)
    message = refused("evaluate", *shared, "--task", "sst2", "--adapter", "other")
    assert message.startswith(f"error: {bundle} has no adapter 'other' (there: sst2)")
    message = refused("evaluate", *shared, "--task", "rte", "--adapter", "sst2")
    assert message == "error: adapter 'sst2' is for task 'sst2', not 'rte': use --task sst2"
    message = refused("evaluate", *shared, "--task", "rte")
    assert message == (
        f"error: {bundle} has no adapter for 'rte': train one with `aimc-deploy adapt --task rte`"
    )


def test_an_adapter_that_is_there_is_not_trained_over(bundle: Path, data: Path) -> None:
    before = files_of(bundle)
    message = refused("adapt", "--bundle", bundle, "--task", "sst2", "--data-dir", data)
    assert message.startswith(f"error: {bundle} has an adapter 'sst2' already: choose another with --name")
    assert files_of(bundle) == before


def test_data_that_is_missing_says_how_to_get_it(tmp_path: Path, bundle_once: Path) -> None:
    shared = ("--bundle", bundle_once, "--task", "sst2")
    message = refused("evaluate", *shared)
    assert "the data of task 'sst2' is missing: the hub did not give" in message
    assert "--data-dir FOLDER with train.tsv and dev.tsv" in message
    assert "is not a folder" in refused("evaluate", *shared, "--data-dir", tmp_path / "nowhere")
    assert "found neither in" in refused("evaluate", *shared, "--data-dir", tmp_path)
    (tmp_path / "train.tsv").write_text("sentence\tlabel\ngood\t1\n")
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\ngood\t1\nbad\tperhaps\n")
    assert f"{tmp_path / 'dev.tsv'}:3" in refused("evaluate", *shared, "--data-dir", tmp_path)


@pytest.mark.parametrize("name", ["tiles.safetensors", "hardware.json", "adapters/sst2/adapter_config.json"])
def test_a_damaged_bundle_is_not_used(bundle: Path, data: Path, name: str) -> None:
    content = (bundle / name).read_bytes()
    (bundle / name).unlink()
    (bundle / name).write_bytes(content.replace(content[-9:], b"damaged!!"))
    evaluate = ("--task", "sst2", "--data-dir", data, "--set", "executor.workers=1")
    assert name.rpartition("/")[2] in refused("evaluate", "--bundle", bundle, *evaluate)
    ended = call("verify", "--bundle", bundle, "--format", "json")
    assert ended.code == 2
    assert ended.json()["problems"] == [f"{name} was changed: its SHA-256 is not the one in the manifest"]
    assert name in ended.message
    (bundle / name).unlink()
    assert f"{name} is missing" in refused("inspect", "--bundle", bundle)
