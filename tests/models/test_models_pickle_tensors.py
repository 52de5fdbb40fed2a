from __future__ import annotations

import collections
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from aimc_deploy.errors import ModelError
from aimc_deploy.models import pickle_tensors
from aimc_deploy.models.pickle_tensors import tensors_from_pickle


class Calls:
    """Pickles to a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_every_tensor_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    content = collections.OrderedDict(
        whole=base,
        same=base,
        row=base[1],
        turned=base.T,
        spread=base[:1].expand(5, 4),
        half=torch.ones(2, dtype=torch.bfloat16),
        ids=torch.arange(3),
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        trained=torch.nn.Parameter(torch.ones(2)),
    )
    # The layout of before torch 1.6, as in google/mobilebert-uncased.
    torch.save(content, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    # A module of that name where the command is run must not be taken for torch.
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "torch.py").write_text("raise SystemExit('the wrong torch')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "here"))
    tensors_from_pickle(tmp_path / "pytorch_model.bin", tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == content.keys()
    for name, value in content.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value.detach())


def test_a_malicious_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out, canary = tmp_path / "pytorch_model.bin", tmp_path / "out.safetensors", tmp_path / "canary"
    touch = f"open({str(canary)!r}, 'w').close()"
    for call in (Calls(exec, touch), Calls(Path.touch, canary), Calls(os.mkdir, str(canary))):
        torch.save({"weight": torch.ones(2), "x": call}, path)
        # The canary sings where the file is trusted: it would be seen.
        torch.load(path, weights_only=False)
        canary.rmdir() if canary.is_dir() else canary.unlink()
        in_this_process(monkeypatch, path, out)
        assert not canary.exists()
    with pytest.raises(ModelError, match=r"it wants to call \w+\.mkdir; save the model as safetensors"):
        tensors_from_pickle(path, out)
    assert not canary.exists()
    assert not out.exists()


def in_this_process(monkeypatch: pytest.MonkeyPatch, path: Path, out: Path) -> None:
    """Let the child's code refuse ``path`` here: a process of its own takes seconds."""
    monkeypatch.setattr(pickle_tensors, "_limit_memory", lambda more: None)
    monkeypatch.setattr(sys, "argv", ["child", str(path), str(out)])
    with pytest.raises(SystemExit) as raised:
        pickle_tensors.child()
    assert raised.value.code == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "it holds a list, not a dictionary of tensors"),
        ({}, "it holds a dict"),
        ({"weight": torch.ones(2), "epoch": 3}, "entry 'epoch' is a int, not a tensor"),
        ({"model": {"weight": torch.ones(2)}}, "entry 'model' is a dict, not a tensor"),
        ({3: torch.ones(2)}, "entry 3 is a Tensor, not a tensor under a name"),
        ({"weight": torch.ones(2).to_sparse()}, "tensor 'weight' is not a plain dense tensor"),
        (b"", "not a readable pickle of tensors"),
        (b"\x80\x04garbage", "not a readable pickle of tensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a readable pickle of tensors"),
        (pickle.dumps({"weight": Calls(print, "x")}), "not a readable pickle of tensors"),
        (pickle.dumps({"weight": Calls(print, "x")}, protocol=2), "it wants to call print"),
    ],
)
def test_anything_but_named_tensors_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    content: Any,
    message: str,
) -> None:
    path, out = tmp_path / "pytorch_model.bin", tmp_path / "out.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    in_this_process(monkeypatch, path, out)
    output = capfd.readouterr()
    assert message in output.err
    assert "weights_only" not in output.err
    assert output.out == ""
    assert not out.exists()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no limit of memory on this system")
def test_a_small_file_that_unfolds_to_gigabytes_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": torch.zeros(1).expand(750_000_000)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match=r"memory.*save the model as safetensors"):
        tensors_from_pickle(path, tmp_path / "out.safetensors")


def test_reading_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    monkeypatch.setattr(pickle_tensors, "TIMEOUT_S", 0.01)
    with pytest.raises(ModelError, match=r"more than 0\.01 s; save the model as safetensors"):
        tensors_from_pickle(tmp_path / "pytorch_model.bin", tmp_path / "out.safetensors")


def test_a_child_that_dies_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ended with status 1: FileNotFoundError"):
        tensors_from_pickle(tmp_path / "none.bin", tmp_path / "out.safetensors")
