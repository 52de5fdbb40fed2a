"""The page docs/results.md and its plots, from the measured results in docs/results."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from results_plan import VARIANTS

from aimc_deploy.artifact.results import Results, from_json, summarise
from aimc_deploy.report.plot import COLOURS, accuracy_over_time
from aimc_deploy.tasks.registry import TASKS

MODELS = {
    "mini": "The bundled reduced MobileBERT",
    "minilm": "MiniLM (all-MiniLM-L6-v2, a real pretrained BERT encoder)",
}
TASK_ROWS = {
    "-digital": "digital LoRA",
    "-digital (LoRA off)": "its head, LoRA off",
    "": "AHWA-LoRA",
    " (LoRA off)": "its head, LoRA off",
}
ROWS = {
    "sst2-digital": "digital LoRA",
    "sst2-digital (LoRA off)": "its head, LoRA off",
    "sst2": "AHWA-LoRA",
    "sst2 (LoRA off)": "its head, LoRA off",
    "sst2-full": "full retraining",
}


def write_page(results: Path, page: Path, rungs: Mapping[str, str]) -> None:
    """Write the page from its template, results.md.j2, and the plots beside the results.

    Args:
        rungs: name and title of every rung, in the order of the page.
    """
    folders = {results / name: title for name, title in MODELS.items() if (results / name).is_dir()}
    models = [
        {
            "title": title,
            "baselines": _baselines(folder),
            "ladder": _ladder(folder, rungs),
            "tasks": _tasks(folder),
            "on_chip": _on_chip(folder),
            "widths": _widths(folder),
            "variants": _variants(folder),
        }
        for folder, title in folders.items()
    ]
    template = (Path(__file__).parent / "results.md.j2").read_text(encoding="utf-8")
    jinja = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.write_text(
        jinja.from_string(template)
        .render(models=models, full_size=_full_size(results.parent / "performance" / "bench.json"))
        .rstrip()
        + "\n",
        encoding="utf-8",
    )


def _full_size(path: Path) -> str:
    """What whole commands take on a model of MobileBERT's full size, from the benchmark that runs them."""
    figures = {figure["what"]: figure for figure in json.loads(path.read_text())["figures"]}
    table = [["command", "against plain PEFT and torch", "measured"]]
    for what in ("peak memory of adapt", "evaluate, the whole command"):
        if what in figures:
            table.append([what, f"{figures[what]['value']:.2f} x", figures[what]["detail"]])
    return _table(table)


def _read(path: Path) -> Results:
    return from_json(path.read_text(encoding="utf-8"), str(path))


def _baselines(folder: Path) -> str:
    """The table and the plot of the recipe."""
    found = [path for path in (folder / "sst2.json", folder / "sst2-full.json") if path.exists()]
    if not found:
        return ""
    parts = [_read(path) for path in found]
    merged = Results.model_validate(
        parts[0].model_dump()
        | {
            "rows": [row for part in parts for row in part.rows],
            "baselines": [baseline for part in parts for baseline in part.baselines],
        }
    )
    (folder / "sst2.svg").write_bytes(accuracy_over_time(merged, summarise(merged)))
    summaries = {(part.adapter, part.time): part for part in summarise(merged) if part.metric == "accuracy"}
    times = sorted({(row.t_s, row.time) for row in merged.rows})
    table = [["adapter", "no hardware", *[time for _, time in times]]]
    for adapter, label in ROWS.items():
        if (adapter, times[0][1]) not in summaries:
            continue
        cells = [label, _digital(merged, adapter)]
        for _, time in times:
            part = summaries[adapter, time]
            cells.append(f"{100 * part.mean:.1f}" + ("" if part.std is None else f" +- {100 * part.std:.1f}"))
        table.append(cells)
    chips = len({row.chip for row in merged.rows})
    told = f"The default hardware (`pcm`), {chips} chips.\n"
    plot = f"![accuracy over time](results/{folder.name}/sst2.svg)\n"
    return "\n".join([told, _table(table), plot, _training(found)])


def _ladder(folder: Path, titles: Mapping[str, str]) -> str:
    """The table and the plot of the stress ladder."""
    files = {name: folder / f"rung-{name}.json" for name in titles}
    rungs = {name: path for name, path in files.items() if path.exists()}
    if not rungs:
        return ""
    head = ["rung", "time", "no hardware", "digital LoRA", "AHWA-LoRA", "as published", "lost", "recovered"]
    table, drawn = [head], []
    for name, path in rungs.items():
        results = _read(path)
        summaries = {(part.adapter, part.time): part for part in summarise(results)}
        names = [part.adapter for part in results.baselines if part.adapter != "sst2-digital"]
        aware = next(name for name in names if not name.endswith("-published"))
        digital = next(part for part in results.baselines if part.adapter == "sst2-digital").metrics[
            "accuracy"
        ]
        for _, time in sorted({(row.t_s, row.time) for row in results.rows}):
            plain, adapted = summaries["sst2-digital", time], summaries[aware, time]
            lost = digital - plain.mean
            # Below a point the quotient says nothing: it is the noise of the dev set.
            recovered = f"{(adapted.mean - plain.mean) / lost:.0%}" if lost >= 0.01 else ""
            published = summaries.get((f"{aware}-published", time))
            figures = [
                "" if part is None else f"{100 * part.mean:.1f} +- {100 * (part.std or 0):.1f}"
                for part in (plain, adapted, published)
            ]
            table.append([titles[name], time, f"{digital:.1%}", *figures, f"{100 * lost:.1f}", recovered])
            drawn.append((titles[name], time, digital, plain, adapted))
    (folder / "ladder.svg").write_text(_plot(drawn), encoding="utf-8")
    chips = len({row.chip for row in results.rows})
    plot = f"![accuracy against rung](results/{folder.name}/ladder.svg)"
    return "\n".join([f"{chips} chips a rung.\n", _table(table), plot])


def _tasks(folder: Path) -> str:
    """A line for each adapter of each task but SST-2, in the task's own metric."""
    paths = {task: folder / f"{task}.json" for task in TASKS if task != "sst2"}
    found = {task: _read(path) for task, path in paths.items() if path.exists()}
    if not found:
        return ""
    times = sorted({(row.t_s, row.time) for results in found.values() for row in results.rows})
    table = [["task", "metric", "dev", "chips", "adapter", "no hardware", *[time for _, time in times]]]
    for task, results in found.items():
        summaries = {
            (part.adapter, part.time): part for part in summarise(results) if part.metric == results.metric
        }
        chips = str(len({row.chip for row in results.rows}))
        for ending, label in TASK_ROWS.items():
            adapter = f"{task}{ending}"
            digital = [part for part in results.baselines if part.adapter == adapter]
            if not digital:
                continue
            cells = [TASKS[task].title, results.metric, f"{results.samples:,}", chips, label]
            cells.append(f"{100 * digital[0].metrics[results.metric]:.1f}")
            for _, time in times:
                part = summaries[adapter, time]
                cells.append(f"{100 * part.mean:.1f} +- {100 * (part.std or 0):.1f}")
            table.append(cells)
    return _table(table)


def _on_chip(folder: Path) -> str:
    """Adapters trained on one aged chip, by number of samples."""
    path = folder / "on-chip.json"
    if not path.exists():
        return ""
    results = _read(path)
    training = json.loads(path.with_suffix(".training.json").read_text())
    accuracy = {row.adapter: row.metrics["accuracy"] for row in results.rows}
    starts = {"sst2-digital": "from digital LoRA on", "sst2-noisy": "from AHWA-LoRA for this hardware on"}
    table = [["samples of the chip", *starts.values()]]
    table.append(["none", *[f"{100 * accuracy[start]:.1f}" for start in starts]])
    counts = sorted({training[name]["samples"] for name in training if name not in starts})
    for count in counts:
        cells = [f"{count:,}"]
        for start in starts:
            own = [
                name
                for name, settings in training.items()
                if name.startswith(f"{start}-chip") and settings["samples"] == count
            ]
            cells.append(f"{100 * accuracy[own[0]]:.1f}")
        table.append(cells)
    row = results.rows[0]
    digital = next(part for part in results.baselines if part.adapter == "sst2-digital").metrics["accuracy"]
    told = (
        f"Chip {row.chip} of `{results.settings['hardware']['name']}`, {row.time} old; without hardware "
        f"digital LoRA has {100 * digital:.1f}."
    )
    return f"{told}\n\n" + _table(table)


def _widths(folder: Path) -> str:
    """SQuAD with fewer bits: before and after loading the adapter that was trained for them."""
    files = {bits: folder / f"squad-bits-{bits}.json" for bits in range(7, 1, -1)}
    found = {bits: _read(path) for bits, path in files.items() if path.exists()}
    if not found:
        return ""
    usual = folder / "squad.json"
    if usual.exists():
        found = {8: _read(usual), **found}
    times = sorted(
        {(row.t_s, row.time) for bits, results in found.items() if bits < 8 for row in results.rows}
    )
    table = [["bits", "adapter", "chips", "no hardware", *[time for _, time in times]]]
    for bits, results in found.items():
        summaries = {
            (part.adapter, part.time): part for part in summarise(results) if part.metric == results.metric
        }
        for adapter, label in {
            "squad-digital": "digital LoRA",
            "squad": "AHWA-LoRA for 8 bit",
            f"squad-{bits}": f"the same, adapted to {bits} bit",
        }.items():
            digital = [part for part in results.baselines if part.adapter == adapter]
            if not digital:
                continue
            means = [summaries[adapter, time] for _, time in times]
            cells = [str(bits), label, str(means[0].chips), f"{100 * digital[0].metrics['f1']:.1f}"]
            table.append(
                [*cells, *[f"{100 * part.mean:.1f} +- {100 * (part.std or 0):.1f}" for part in means]]
            )
    return _table(table)


def _variants(folder: Path) -> str:
    """The adapter of each variant at all times."""
    files = {variant: folder / f"variant-{variant.name}.json" for variant in VARIANTS}
    found = {variant: _read(path) for variant, path in files.items() if path.exists()}
    if not found:
        return ""
    rows = [("digital LoRA, nothing else", "sst2-digital", next(iter(found.values())))]
    rows += [(variant.title, f"sst2-{variant.name}", results) for variant, results in found.items()]
    times = sorted({(row.t_s, row.time) for row in rows[0][2].rows})
    table = [["variant", "no hardware", *[time for _, time in times]]]
    for title, adapter, results in rows:
        summaries = {(part.adapter, part.time): part for part in summarise(results)}
        means = [summaries[adapter, time] for _, time in times]
        figures = [f"{100 * part.mean:.1f} +- {100 * (part.std or 0):.1f}" for part in means]
        table.append([title, _digital(results, adapter), *figures])
    chips = len({row.chip for row in rows[0][2].rows})
    return f"{chips} chips.\n\n" + _table(table)


def _digital(results: Results, adapter: str) -> str:
    found = [part.metrics["accuracy"] for part in results.baselines if part.adapter == adapter]
    return f"{100 * found[0]:.1f}" if found else ""


def _training(paths: list[Path]) -> str:
    """How the adapters of the page were trained, from the files beside the results."""
    lines = []
    for path in paths:
        told = path.with_suffix(".training.json")
        for name, settings in json.loads(told.read_text()).items() if told.exists() else ():
            rate = settings["learning_rate"] or "the method's own"
            lines.append(
                f"- {ROWS[name]}: {settings['samples']:,} phrases, {settings['steps']:,} steps of "
                f"{settings['batch_size']}, learning rate {rate}, {_met(settings)}, seed {settings['seed']}"
            )
    return "\n".join(lines) + "\n"


def _met(settings: Mapping[str, Any]) -> str:
    """What training met."""
    if not settings["hardware_aware"]:
        return "no hardware"
    if settings["method"] == "full" or settings["noise"] == "weights":
        return f"weight noise {settings['weight_noise']}"
    start = f" from {ROWS[settings['start_from']]} on" if settings["start_from"] else ""
    return f"chips up to {settings['drift']} old{start}"


def _table(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body]) + "\n"


def _plot(drawn: list[tuple]) -> str:
    """Accuracy against rung at the first and the last time, with and without adaptation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import style
    from matplotlib.figure import Figure

    rungs = list(dict.fromkeys(rung for rung, *_ in drawn))[::-1]
    times = list(dict.fromkeys(time for _, time, *_ in drawn))
    with style.context(["default", {"svg.hashsalt": "aimc-deploy", "svg.fonttype": "none", "font.size": 10}]):
        figure = Figure(figsize=(8.5, 1.3 + 0.32 * len(rungs)), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, time in zip(panels, (times[0], times[-1]), strict=True):
            own = [entry for entry in drawn if entry[1] == time]
            places = [rungs.index(entry[0]) for entry in own]
            axes.plot(
                [entry[2] for entry in own], places, "|", color="#5f6368", markersize=11, label="no hardware"
            )
            for index, label, lift in ((3, "digital LoRA", -0.12), (4, "AHWA-LoRA", 0.12)):
                axes.errorbar(
                    [entry[index].mean for entry in own],
                    [place + lift for place in places],
                    xerr=[entry[index].std or 0.0 for entry in own],
                    fmt="o",
                    color=COLOURS[index - 3],
                    markersize=4,
                    capsize=2,
                    label=label,
                )
            axes.set_title(f"{time} after programming", fontsize=10)
            axes.set_xlabel("accuracy on SST-2 dev")
            axes.grid(alpha=0.25)
        panels[0].set_yticks(range(len(rungs)), rungs)
        panels[0].set_ylim(-0.5, len(rungs) - 0.5)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False
        )
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "aimc-deploy"})
    return text.getvalue()
