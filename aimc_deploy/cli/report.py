"""``aimc-deploy report``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, out

if TYPE_CHECKING:
    from aimc_deploy.workflows.report import ReportResult


@guarded
def command(
    bundle: options.BundlePath = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Write one HTML page with everything that was measured, into the bundle.

    Examples:

        aimc-deploy report
        aimc-deploy report --bundle my-bundle
    """
    with loading(output):
        from aimc_deploy.workflows import report as workflow

    result = workflow.run(options.bundle_path(bundle))
    emit(output, {"report": str(result.path)}, lambda: show(result))


def show(result: ReportResult) -> None:
    """Where the page is."""
    out.print(f"report: {result.path}")
