"""What every test gets: no network but loopback, and no settings of the machine's user."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Before transformers or huggingface_hub is imported: nothing may be asked of a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# What the tests judge is no verdict on this package, should they run as a step of GitHub's.
for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(name, None)

SHARED = Path(__file__).parents[2] / "shared"


def _is_local(address: Any) -> bool:
    return not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1", "localhost", "")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Any:
    """Refuse connections to anywhere but this machine."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(address: Any) -> None:
        if not _is_local(address):
            raise OSError(f"a test asked for {address}: tests run without a network")

    def guarded(self: socket.socket, address: Any) -> None:
        refuse(address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        patch.setattr(socket.socket, "connect_ex", guarded_ex)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference numbers and data beside the repository; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("needs the shared reference data beside the repository")
    return SHARED
