"""``aimc-deploy inspect``."""

from __future__ import annotations

from typing import Any

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, next_step, out


@guarded
def command(
    bundle: options.BundlePath = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Show what a bundle holds: model, hardware, tiles, adapters, results.

    Examples:

        aimc-deploy inspect
        aimc-deploy inspect --bundle my-bundle --format json
    """
    with loading(output):
        from aimc_deploy.workflows import inspect as workflow

    found = workflow.run(options.bundle_path(bundle))
    emit(output, found, lambda: show(found))
    next_step(output, "aimc-deploy report" + options.place(found["bundle"]))


def show(found: dict[str, Any]) -> None:
    """The same as a few short tables."""
    from rich.table import Table

    lines = {
        "bundle": found["bundle"],
        "model": f"{found['source']['source']} ({found['source']['model_type']})",
        "hardware": f"{found['hardware']['name']}: {found['hardware']['description']}",
        "base": f"{found['base_sha256']}  (unchanged by adapters)",
        "analog": f"{found['analog']['layers']} matrices, {found['analog']['parameters']:,} weights on "
        f"{found['analog']['tiles']} tiles, {found['analog']['utilisation']:.1%} used",
        "digital": f"{found['digital_parameters']:,} parameters",
    }
    for key, value in lines.items():
        out.print(f"{key:<9} {value}")
    if found["adapters"]:
        table = Table(title="adapters", title_justify="left")
        for name in ("name", "task", "method", "parameters", "bytes", "trained for"):
            table.add_column(name, justify="right" if name in ("parameters", "bytes") else "left")
        for entry in found["adapters"]:
            table.add_row(
                entry["name"],
                entry["task"],
                entry["method"],
                f"{entry['parameters']:,}",
                f"{entry['bytes']:,}",
                entry["trained_for"],
            )
        out.print(table)
        if len(found["ledger"]["adapters"]) > 1:  # with one task there is nothing to compare
            show_ledger(found["ledger"])
    for entry in found["results"]:
        out.print(
            f"results   {entry['name']}: {entry['task']}, {entry['chips']} chips, "
            + ", ".join(entry["times"]),
        )


def show_ledger(found: dict[str, Any]) -> None:
    """One base for all tasks against a programmed model for each, in parameters."""
    adapters = sum(own["parameters"] for own in found["adapters"].values())
    tasks = len(found["adapters"])
    out.print(
        f"ledger    {tasks} {'task' if tasks == 1 else 'tasks'} on one base: "
        f"{found['analog']['parameters'] / 1e6:.2f} M analog + {found['digital']['parameters'] / 1e6:.2f} M "
        f"digital + {adapters / 1e6:.2f} M in adapters = {found['one_base'] / 1e6:.1f} M parameters; "
        f"programmed one by one {found['programmed_each'] / 1e6:.1f} M"
    )
