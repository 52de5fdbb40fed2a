"""What is damaged or not there: bundles, models, devices; each command names it, `verify` lists it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import Ended, call
from tiny_deployment import files_of

COMMANDS = {
    "inspect": [],
    "verify": [],
    "report": [],
    "adapt": ["--task", "sst2", "--name", "another"],
    "evaluate": ["--task", "sst2", "--workers", "1", "--chips", "1", "--times", "0s"],
}


def on_bundle(command: str, bundle: Path, data: Path) -> Ended:
    extra = ["--data-dir", data] if command in ("adapt", "evaluate") else []
    return call(command, "--bundle", bundle, *COMMANDS[command], *extra)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-10])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./no/such", "error: there is no folder './no/such', and it cannot be a hub id (NAMESPACE/NAME)"),
        ("tiny/config.json", "error: tiny/config.json is a file: give the folder that it is in"),
        ("nobody/nothing", "error: 'nobody/nothing' is not a local folder, its weights are not in the cache"),
    ],
)
def test_a_model_that_is_not_there_is_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = call("map", model, "out")
    assert (ended.code, ended.out) == (2, "")
    assert ended.message.startswith(message)
    assert not Path("out").exists()


@pytest.mark.parametrize("device", ["gpu9", "cuda:99", "", "cpu:x"])
@pytest.mark.parametrize("command", ["adapt", "evaluate"])
def test_a_device_that_is_not_there_is_named(bundle: Path, data: Path, command: str, device: str) -> None:
    before = files_of(bundle)
    ended = call(command, "--bundle", bundle, *COMMANDS[command], "--data-dir", data, "--device", device)
    assert (ended.code, ended.out) == (2, "")
    assert ended.message.startswith(f"error: device '{device}' cannot be used (")
    assert ended.message.endswith("): choose auto, cpu or cuda")
    assert files_of(bundle) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_bundle_is_refused_by_every_command(
    bundle_once: Path, data: Path, tmp_path: Path, command: str
) -> None:
    for name in (
        "tiles.safetensors",
        "hardware.json",
        "tokenizer.json",
        "adapters/sst2/adapter_model.safetensors",
    ):
        path = tmp_path / name.replace("/", "-")
        shutil.copytree(bundle_once, path)
        cut(path / name)
        ended = on_bundle(command, path, data)
        assert ended.code == 2, name
        assert name in ended.message
        if command == "verify":
            assert ended.out == f"{path}: {len(files_of(bundle_once)) - 1} files, 1 of them wrong\n"
        else:
            assert ended.out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no valid JSON: "),
        (b"[]", "has no schema_version"),
        (
            b'{"schema_version": "9.0"}',
            "has schema version 9.0 and this aimc-deploy reads 1.x: upgrade aimc-deploy",
        ),
        (b'{"schema_version": "1.0"}', "manifest.json"),
    ],
)
def test_a_damaged_manifest_is_refused_by_every_command(
    bundle: Path, data: Path, content: bytes, message: str
) -> None:
    (bundle / "manifest.json").write_bytes(content)
    for command in COMMANDS:
        ended = on_bundle(command, bundle, data)
        assert (ended.code, ended.out) == (2, "")
        assert str(bundle / "manifest.json") in ended.message
        assert message in ended.message


def test_verify_says_so_of_a_bundle_that_is_whole(bundle_once: Path) -> None:
    files = sorted(json.loads((bundle_once / "manifest.json").read_text())["files"])
    assert files == sorted(set(files_of(bundle_once)) - {"manifest.json"})
    found = call("verify", "--bundle", bundle_once, "--format", "json").json()
    assert found == {"bundle": str(bundle_once), "files": len(files), "problems": [], "signature": None}


def test_verify_lists_the_problems_as_json_too(bundle: Path) -> None:
    cut(bundle / "tiles.safetensors")
    (bundle / "run.json").unlink()
    ended = call("verify", "--bundle", bundle, "--format", "json")
    assert ended.code == 2
    problems = ended.json()["problems"]
    assert [problem.split()[0] for problem in problems] == ["run.json", "tiles.safetensors"]
    assert all(problem in ended.message for problem in problems)
