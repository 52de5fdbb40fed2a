"""The tensors of a ``pytorch_model.bin``, read in a process of their own.

A pickle is a program. torch's restricted reader runs none of it but plain tensors; it has had holes
before, so it runs in a child without the parent's environment, with limited time and memory, and hands
back a safetensors file, which cannot hold code.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

from aimc_deploy.errors import ModelError

TIMEOUT_S = 600.0
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from {module} import child; child()"
_ENVIRONMENT = ("PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
_REFUSED = 3


def tensors_from_pickle(path: Path, out: Path) -> None:
    """Write the tensors of the pickle ``path`` to the safetensors file ``out``, keeping their names.

    The pickle must hold one dictionary of names to dense tensors; anything else in it is refused, nothing
    is left out. Tensors that share memory are written one by one.

    Raises:
        ModelError: the file holds anything else, is damaged, or needs too much time or memory.
    """
    python_path = [entry for entry in map(os.path.abspath, sys.path) if os.path.exists(entry)]
    command = [sys.executable, "-I", "-W", "ignore", "-c", _BOOT.format(module=__name__)]
    try:
        done = subprocess.run(
            [*command, str(path), str(out), json.dumps(python_path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{path}: reading it took more than {TIMEOUT_S:g} s; {_WAY_OUT}") from None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == _REFUSED:
        raise ModelError(f"{path}: {said[-1] if said else 'not readable'}; {_WAY_OUT}")
    if done.returncode != 0:
        last = f": {said[-1][:200]}" if said else ""
        raise ModelError(f"{path}: the reading process ended with status {done.returncode}{last}; {_WAY_OUT}")


_WAY_OUT = "save the model as safetensors where you trust the file, and map that"


def child() -> None:
    """Read ``argv[1]`` and write ``argv[2]``; what is wrong goes to standard error, with exit status 3."""
    import torch
    from safetensors.torch import save_file

    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    _limit_memory(5 * source.stat().st_size + (1 << 30))
    torch.set_num_threads(1)
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or not content:
            _refuse(f"it holds a {type(content).__name__}, not a dictionary of tensors")
        for name, value in content.items():
            if not isinstance(name, str) or not isinstance(value, torch.Tensor):
                _refuse(f"entry {name!r:.80} is a {type(value).__name__}, not a tensor under a name")
            if value.layout != torch.strided or value.is_quantized or value.is_meta:
                _refuse(f"tensor {name!r:.80} is not a plain dense tensor")
        # A copy each: safetensors takes neither shared memory nor strides.
        tensors = {
            name: value.detach().clone(memory_format=torch.contiguous_format)
            for name, value in content.items()
        }
        save_file(tensors, target, metadata={"format": "pt"})
    except pickle.UnpicklingError as error:
        # torch goes on to recommend reading the file without the restriction; that is not passed on.
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        _refuse(f"it wants to call {wanted[1]}" if wanted else "not a readable pickle of tensors")
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        _refuse(f"not a readable pickle of tensors ({type(error).__name__}: {reason[:120]})")


def _refuse(reason: str) -> None:
    sys.stderr.write(f"{reason}\n")
    raise SystemExit(_REFUSED)


def _limit_memory(more: int) -> None:
    """Let this process take ``more`` bytes of address space, where the system can say how much it has."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + more
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
