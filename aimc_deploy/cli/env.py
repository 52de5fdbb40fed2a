"""``aimc-deploy env``."""

from __future__ import annotations

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, out


@guarded
def command(output: options.Output = options.Format.human, debug: options.Debug = False) -> None:
    """Show the versions and the machine that results depend on; paste it into a bug report.

    Examples:

        aimc-deploy env
        aimc-deploy env --format json
    """
    with loading(output):
        from aimc_deploy.workflows import env as workflow

    found = workflow.run()
    width = max(map(len, found))
    emit(
        output,
        found,
        lambda: out.print("\n".join(f"{key:<{width}}  {value}" for key, value in found.items())),
    )
