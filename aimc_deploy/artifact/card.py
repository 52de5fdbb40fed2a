"""The model card of a bundle, ``README.md``: what it holds, in the form that the Hugging Face hub reads.

A bundle writes it anew in the same step as anything else that changes. It is made from what the bundle
holds and nothing else, so that equal bundles have equal cards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from huggingface_hub import ModelCardData
from pydantic import BaseModel

from aimc_deploy.artifact.adapter import AdapterRecord
from aimc_deploy.artifact.manifest import Manifest, validated
from aimc_deploy.artifact.results import Baseline, Summary, over_time
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.errors import ArtifactError

CARD = "README.md"
Reader = Callable[[str], Any]
"""The content of a JSON file of the bundle by its name; raises an ArtifactError where it is damaged."""


@dataclass(frozen=True)
class _Measured:
    """One evaluation as a table: a line an adapter, a column a time.

    Attributes:
        lines: adapter, its metric in the digital model, and its mean and spread over chips by time.
    """

    task: str
    metric: str
    samples: int
    chips: int
    hardware: str
    times: tuple[str, ...]
    lines: tuple[tuple[str, str, tuple[str, ...]], ...]


def card(manifest: Manifest, read: Reader) -> bytes | None:
    """The card of a bundle with these files; None where no model is mapped in it.

    An adapter or results that cannot be read are named as such: a bundle must take what was just trained
    even where something else in it is damaged.

    Raises:
        ArtifactError: the hardware or the tile map is damaged.
    """
    if not {"hardware.json", "tile_map.json"} <= manifest.files.keys():
        return None
    hardware = validated(Hardware, read("hardware.json"), "hardware.json")

    def adapter(file: str) -> tuple[AdapterRecord, str]:
        record = validated(AdapterRecord, read(file), file)
        return record, _trained_for(record, hardware)

    def results(file: str) -> _Measured:
        return _measured(validated(_Tabled, read(file), file), hardware)

    adapters, unread = _all(manifest, "adapters/", "/adapter.json", adapter)
    evaluations, damaged = _all(manifest, "results/", ".json", results)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aimc_deploy.artifact", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        # Earlier versions told less of both.
        source, plan = (defaultdict(lambda: None, part) for part in (manifest.source, read("tile_map.json")))
        text = environment.get_template("card.md.j2").render(
            metadata=_metadata(manifest, bool(adapters)),
            name=_name(source),
            reduced=str(source["source"]).startswith("bundled "),
            manifest=manifest,
            source=source,
            plan=plan,
            hardware=hardware,
            digital=(source["parameters"] or 0) - (plan["weights"] or 0),
            adapters=adapters,
            results=evaluations,
            unread=sorted([*unread, *damaged]),
        )
    except (jinja2.TemplateError, TypeError, ValueError, OverflowError) as error:
        # What both hold has no model.
        raise ArtifactError(
            f"no card can be made of tile_map.json and of the source in manifest.json: they are not as "
            f"`{manifest.tool} map` writes them ({error}); map again"
        ) from None
    return text.encode()


def _all(
    manifest: Manifest, begin: str, end: str, parse: Callable[[str], Any]
) -> tuple[dict[str, Any], list[str]]:
    """Every file of one kind by the part of its name between, and the names of those that are damaged."""
    found, damaged = {}, []
    files = [file for file in manifest.files if file.startswith(begin) and file.endswith(end)]
    for name in sorted(file.removeprefix(begin).removesuffix(end) for file in files):
        try:
            found[name] = parse(f"{begin}{name}{end}")
        except (ArtifactError, AttributeError, KeyError):  # damaged, or of another shape
            damaged.append(f"{begin}{name}{end}")
    return found, damaged


def _trained_for(record: AdapterRecord, hardware: Hardware) -> str:
    return (
        _hardware(record.training, record.hardware_digest, hardware)
        if record.hardware_aware
        else "no hardware"
    )


def _hardware(told: Mapping[str, Any], digest: str, hardware: Hardware) -> str:
    """The name of what was simulated, which may have been changed from what has that name."""
    name = told.get("hardware", {}).get("name", "unknown")
    return f"`{name}`" if digest == hardware.digest() or name != hardware.name else f"`{name}`, changed"


class _Tabled(BaseModel):
    """What a table needs of the file of an evaluation."""

    task: str
    metric: str
    samples: int
    hardware_digest: str
    settings: dict[str, Any]
    baselines: tuple[Baseline, ...]
    summary: tuple[Summary, ...]


def _measured(found: _Tabled, hardware: Hardware) -> _Measured:
    times, lines = over_time(found.metric, found.baselines, found.summary)
    return _Measured(
        task=found.task,
        metric=found.metric,
        samples=found.samples,
        chips=max((cell.chips for line in lines for cell in line.cells if cell is not None), default=0),
        hardware=_hardware(found.settings, found.hardware_digest, hardware),
        times=times,
        lines=tuple(
            (
                line.adapter,
                "" if line.digital is None else f"{line.digital:.4f}",
                tuple("" if cell is None else _spread(cell) for cell in line.cells),
            )
            for line in lines
        ),
    )


def _spread(part: Summary) -> str:
    return f"{part.mean:.4f}" if part.std is None else f"{part.mean:.4f} ± {part.std:.4f}"


def _name(source: Mapping[str, Any]) -> str:
    """The last part of a hub id or a path: cards are published, and a folder of somebody's disk is not."""
    return str(source.get("source", "unknown")).rstrip("/").rpartition("/")[2]


def _metadata(manifest: Manifest, adapted: bool) -> str:
    """The front matter that the hub reads; ``base_model`` only where the source is a model there."""
    source = manifest.source
    tags = ["analog-in-memory-computing", "aimc", str(source.get("model_type", "transformers"))]
    return ModelCardData(
        base_model=source["source"] if source.get("commit") else None,
        library_name=manifest.tool,
        license=source.get("license"),
        tags=[*tags, "peft", "lora"] if adapted else tags,
    ).to_yaml(line_break="\n")
