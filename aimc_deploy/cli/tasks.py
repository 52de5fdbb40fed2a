"""``aimc-deploy tasks``."""

from __future__ import annotations

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, next_step, out


@guarded
def command(
    data_dir: options.DataDir = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """List the tasks, their metric, and whether their data is there.

    Examples:

        aimc-deploy tasks
        aimc-deploy tasks --data-dir glue
    """
    from rich.table import Table

    with loading(output):
        from aimc_deploy.tasks.data import where
        from aimc_deploy.tasks.registry import TASKS

    rows = [
        {
            "task": task.name,
            "metric": task.metric,
            "labels": list(task.labels) or None,
            "description": task.description,
            "data": where(task, data_dir),
        }
        for task in TASKS.values()
    ]

    def human() -> None:
        table = Table()
        for name in ("task", "metric", "what is asked", "data"):
            table.add_column(name)
        for row in rows:
            table.add_row(row["task"], row["metric"], row["description"], row["data"])
        out.print(table)

    emit(output, rows, human)
    next_step(output, "aimc-deploy adapt --task reviews")
