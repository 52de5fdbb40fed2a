"""Several processes of one run, as torchrun would start them, without importing torch anew for each test."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

TIMEOUT_S = 100


def run_together(function: Callable[..., Any], *arguments: Any, count: int = 2) -> list[Any]:
    """What ``function`` gives in each process, or the exception that it ends with.

    Args:
        function: of a module, so that another process finds it.
    """
    # Not "spawn", which would take ten seconds for each process to import torch.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aimc_deploy.workflows.run"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        environment = {
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        }
        process = context.Process(target=_call, args=(theirs, environment, function, arguments))
        process.start()
        started.append((process, ours))
    try:
        found = []
        for process, ours in started:
            assert ours.poll(TIMEOUT_S), "a process of several hangs"
            found.append(ours.recv())
            process.join(TIMEOUT_S)
        return found
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _call(
    back: Connection, environment: dict[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ.update(environment)
    try:
        found = function(*arguments)
    except BaseException as error:
        traceback.print_exc()
        found = error
    back.send(found)
