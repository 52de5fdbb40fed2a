"""What this package reads, each with sound documents to begin with, and what must hold of what it takes.

A parser is called as the commands call it. What it takes is written and read again, and must be the same.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import safetensors.torch
import torch
import yaml
from pydantic import BaseModel

from aimc_deploy.artifact.adapter import AdapterRecord
from aimc_deploy.artifact.card import card
from aimc_deploy.artifact.comparison import compare
from aimc_deploy.artifact.files import dump_json, parse_json, read_json
from aimc_deploy.artifact.gate import judge
from aimc_deploy.artifact.journal import PENDING, _read_journal
from aimc_deploy.artifact.manifest import MANIFEST, Manifest, _seal, read_manifest, validated
from aimc_deploy.artifact.noise_budget import losses
from aimc_deploy.artifact.results import from_file, from_json, to_csv, to_json
from aimc_deploy.artifact.sensitivity import LayerEffect, Sensitivity
from aimc_deploy.artifact.tensors import load_tensors, read_tensors
from aimc_deploy.artifact.tile_map import TileMap
from aimc_deploy.config import load
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.mistakes import checked
from aimc_deploy.config.run import Gate, Run
from aimc_deploy.config.sweep import Sweep
from aimc_deploy.config.times import DEFAULT_TIMES, label, seconds
from aimc_deploy.config.training_presets import load_training_device
from aimc_deploy.config.yaml_file import parse_yaml, read_yaml
from aimc_deploy.errors import AimcError, ArtifactError
from aimc_deploy.tasks.registry import TASKS, Task, get_task
from aimc_deploy.tasks.tables import Table, read_table, read_texts
from campaigns.mutations import Draft, changed, scrambled

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "0.1.0"
STAGED = ".tmp-0123456789abcdef"
LARGEST = 2 * 1024**2
"""Bytes of a document; what is longer is cut."""

Use = Callable[[Path], object]
Render = Callable[[Draft], bytes]


class Unsound(Exception):
    """What was taken is not what was written, or a refusal does not say of what."""


@dataclass(frozen=True, eq=False)
class Parser:
    """Something that reads files.

    Attributes:
        share: of all executions, so many parts; what is fast has more.
        file: the name under which it is given a document.
        samples: sound documents, as trees.
        render: a changed tree as a file.
        use: reads the file; raises an AimcError if it refuses it.
        told: part of each refusal; empty if it may be of another file.
        yaml: changes may be of YAML.
        raw: of all documents, this part has changed bytes too.
    """

    name: str
    share: int
    file: str
    samples: tuple[Any, ...]
    render: Render
    use: Use
    told: str
    yaml: bool = False
    raw: float = 0.2

    def document(self, draw: Random) -> bytes:
        """A document that is almost sound."""
        tree = json.loads(draw.choice(self._texts()))
        draft = changed(Draft(tree, draw, self.yaml), (*self.samples, _vocabulary()))
        data = self.render(draft)
        if draw.random() < self.raw:
            data = scrambled(data, draw, [text.encode() for text in self._texts()])
        return data[:LARGEST]

    def pristine(self) -> Iterator[bytes]:
        """The samples as they are, all of which it takes."""
        for text in self._texts():
            yield self.render(Draft(json.loads(text), Random(0), self.yaml))

    @cache  # noqa: B019  # there is one of each for the whole campaign
    def _texts(self) -> tuple[str, ...]:
        return tuple(json.dumps(sample) for sample in self.samples)


def read(parser: Parser, path: Path) -> bool:
    """Whether it takes the file.

    Raises:
        Unsound: something is wrong with what it takes, or with what it says.
        Exception: whatever it should not raise.
    """
    try:
        parser.use(path)
    except AimcError as error:
        message = str(error)
        if not message or parser.told not in message:
            raise Unsound(f"the refusal does not tell of {parser.told}: {message[:500]}") from None
        message.encode(errors="surrogateescape")
        return False
    return True


def same(what: str, one: Any, other: Any) -> None:
    """Refuse two readings of one thing that differ."""
    if one != other and repr(one) != repr(other):
        raise Unsound(f"{what}, written and read again, is another: {one!r:.1000} and {other!r:.1000}")


@cache
def _vocabulary() -> dict[str, Any]:
    """The words that mean something in a recipe or a sweep: names of keys, with the values of lists of them."""
    words: dict[str, Any] = {}

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            words.update(dict.fromkeys(part.get("properties", {}), None))
            values = [*part.get("enum", []), *([part["const"]] if "const" in part else [])]
            words.update({str(value): value for value in values})
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk([load.recipe_schema(), load.sweep_schema(), TileMap.model_json_schema()])
    return words


def _json(draft: Draft) -> bytes:
    return _encoded(draft.as_json())


def _yaml(draft: Draft) -> bytes:
    return _encoded(draft.as_json() if draft.draw.random() < 0.15 else draft.as_yaml())


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _golden(*names: str) -> tuple[Any, ...]:
    return tuple(json.loads((GOLDEN / "bundle" / name).read_bytes()) for name in names)


# The bundle.


def _sealed(draft: Draft) -> bytes:
    """A manifest whose seal fits, most often: what somebody writes who knows the format."""
    if isinstance(draft.tree, dict) and draft.draw.random() < 0.8:
        draft.tree.pop("manifest_sha256", None)
        try:  # the seal of what a reader understands
            content = parse_json(_json(draft), MANIFEST)
            if isinstance(content, dict):
                draft.tree = {**content, "manifest_sha256": _seal(content)}
        except AimcError:
            pass
    return _json(draft)


def _of_model(model: type[BaseModel], path: Path) -> Any:
    """Read, write and read what has a model."""
    found = validated(model, read_json(path), path)
    _written(model, found)
    return found


def _written(model: type[BaseModel], found: BaseModel) -> None:
    text = dump_json(found.model_dump(mode="json"), "it")
    same(model.__name__, found, validated(model, parse_json(text.encode(), "it"), "it"))


def _manifest(path: Path) -> None:
    found = read_manifest(path.parent)
    _written(Manifest, found)
    for name in found.files:
        if name.startswith("/") or ".." in name or "\\" in name or not name.isprintable():
            raise Unsound(f"a manifest may name the file {name!r}")


def _journal(path: Path) -> None:
    (path.parent / STAGED).mkdir(exist_ok=True)
    staged, targets = _read_journal(path.parent)
    for name in (staged.name, *targets):
        if name.startswith("/") or ".." in name:
            raise Unsound(f"a journal may name {name!r}")


def _hardware(path: Path) -> None:
    found = checked(Hardware, read_json(path), {(): str(path)})
    same("the hardware", found, checked(Hardware, found.model_dump(mode="json"), {}))
    same("its digest", found.digest(), load.load_hardware_json(path).digest())
    found.mapping_digest()


def _adapter(path: Path) -> None:
    found = _of_model(AdapterRecord, path)
    for told in (found.how, found.analog_head, found.trained_for("0" * 64), found.at_age(60.0)):
        repr(told)
    found.ranges_for(Hardware())


def _results(path: Path) -> None:
    found = from_file(path)
    same("the results", found, from_json(to_json(found)))
    to_csv(found)
    for ask in (partial(judge, found, found.gate or Gate()), partial(losses, found), partial(compare, found, found)):
        try:
            ask()
        except AimcError:
            pass


def _card(path: Path) -> None:
    """One document of a bundle, in the place of the sound one that has the same name."""
    name, content = _one(read_json(path))
    manifest, files = _bundle()
    if name == MANIFEST:
        manifest = validated(Manifest, content, path)
    card(manifest, lambda asked: content if asked == name else files[asked])


def _one(tree: Any) -> tuple[str, Any]:
    if isinstance(tree, dict) and len(tree) == 1 and (name := next(iter(tree))) in (*CARDED, MANIFEST):
        return name, tree[name]
    raise ArtifactError("this is no document of a bundle")


@cache
def _bundle() -> tuple[Manifest, dict[str, Any]]:
    manifest = read_manifest(GOLDEN / "bundle")
    return manifest, {name: _golden(name)[0] for name in manifest.files if name.endswith(".json")}


CARDED = ("hardware.json", "tile_map.json", "adapters/sst2/adapter.json", "results/sst2.json")


def _tensors(draft: Draft) -> bytes:
    """A header and the bytes that it speaks of, most often as many as it says."""
    draw = draft.draw
    header = _json(draft)
    header += b" " * (-len(header) % 8)
    length = len(header) if draw.random() < 0.9 else draw.choice((0, 1, len(header) - 1, 2**25, 2**63, 2**64 - 1))
    sizes = [part.get("data_offsets") for part in _parts(draft.tree)]
    ends = [size[1] for size in sizes if isinstance(size, list) and len(size) == 2 and isinstance(size[1], int)]
    count = max([end for end in ends if 0 <= end <= 4096], default=0) + draw.choice((0,) * 12 + (1, -1, 8))
    data = draw.randbytes(max(0, count)) if draw.random() < 0.2 else bytes(max(0, count))
    return length.to_bytes(8, "little") + header + data


def _parts(tree: Any) -> list[dict[str, Any]]:
    return [part for part in tree.values() if isinstance(part, dict)] if isinstance(tree, dict) else []


def _safetensors(path: Path) -> None:
    found = read_tensors(path)
    again = load_tensors(io.BytesIO(safetensors.torch.save({k: v.clone() for k, v in found.items()})), path)
    same("their names", sorted(found), sorted(again))
    for name, tensor in found.items():
        same(name, (tensor.dtype, tensor.shape), (again[name].dtype, again[name].shape))
        if tensor.numel() and not torch.equal(tensor.view(torch.uint8), again[name].view(torch.uint8)):
            raise Unsound(f"the tensor {name!r}, written and read again, is another")


# The configuration.


def _recipe(path: Path) -> None:
    _run(load.load_run(path))


def _set(path: Path) -> None:
    texts = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")
    _run(load.load_run(None, texts))


def _run(found: Run) -> None:
    data = found.model_dump(mode="json")
    again = checked(Run, data, {})
    same("the settings", found, again)
    same("their digest", load.config_digest(found), load.config_digest(again))


def _settings(draft: Draft) -> bytes:
    """``--set`` for each leaf of a few."""
    draw = draft.draw
    pairs = list(_leaves(draft.tree, ()))
    chosen = draw.sample(pairs, min(len(pairs), draw.choice((1, 1, 2, 3))))
    texts = [f"{'.'.join(keys)}={draft.resolved(json.dumps(value))}" for keys, value in chosen]
    return "\0".join(texts).encode("utf-8", "surrogateescape" if draw.random() < 0.5 else "replace")


def _leaves(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*keys, str(key)))
    else:
        yield keys, tree


def _sweep(path: Path) -> None:
    document = read_yaml(path)
    found = checked(Sweep, document.data, document.places)
    same("the sweep", found, checked(Sweep, found.model_dump(mode="json"), {}))


def _preset(path: Path) -> None:
    found = load.load_preset(str(path))
    same("the preset", found, checked(Hardware, found.model_dump(mode="json"), {}))


def _device(path: Path) -> None:
    found = load_training_device(str(path))
    same("the device", found, checked(type(found), found.model_dump(mode="json"), {}))


def _faults(path: Path) -> None:
    found = load.load_faults(path)
    same("the faults", found, checked(type(found), found.model_dump(mode="json"), {}))


def _task(path: Path) -> None:
    found = get_task(str(path))
    json.dumps({key: value for key, value in found.identity().items()})
    if not found.metrics or found.outputs < 1 or len(found.text_columns) not in (1, 2):
        raise Unsound(f"a task with nothing to learn: {found}")


def _plain_yaml(path: Path) -> None:
    found = read_yaml(path)
    if () not in found.places and found.data is not None:
        raise Unsound("no line is told of what was taken")
    if path.stat().st_size < 2000:
        text = yaml.safe_dump(found.data, allow_unicode=False, sort_keys=False)
        same("the YAML", found.data, parse_yaml(text, "it").data)


def _time(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "replace")
    found = seconds(text)
    if not 0 <= found < math.inf:
        raise Unsound(f"{text!r:.100} is taken for {found} s")
    same("the time", found, seconds(label(found)))


def _bare(draft: Draft) -> bytes:
    """A text as it is."""
    return _encoded(draft.resolved(draft.tree if isinstance(draft.tree, str) else json.dumps(draft.tree)))


# The data.


def _table(task: Task, path: Path) -> None:
    """Read a table with its labels, write it as JSON lines, and read it again."""
    try:
        read_texts(path, task)
    except AimcError:
        pass
    found = read_table(path, task)
    lengths = {len(column) for column in (*found.texts, found.labels)}
    if lengths != {len(found.labels)} or not found.labels:
        raise Unsound(f"columns of {lengths} samples")
    if len(found.labels) > 200 or path.stat().st_size > 100_000:
        return
    again = path.with_suffix(".again.jsonl")
    again.write_text("\n".join(_lines(task, found)) + "\n", encoding="utf-8")
    other = read_table(again, task)
    same("the table", (found.texts, found.labels), (other.texts, other.labels))


def _lines(task: Task, table: Table) -> Iterator[str]:
    for *texts, of in zip(*table.texts, table.labels, strict=True):
        cells = dict(zip(task.text_columns, texts, strict=True))
        if task.kind == "spans":
            of = {"text": [text for text, _ in of], "answer_start": [start for _, start in of]}
        yield json.dumps(cells | {task.label_column: of})


def _rows(separator: str) -> Render:
    """A table, of which the tree is a list of rows."""

    def render(draft: Draft) -> bytes:
        rows = draft.tree if isinstance(draft.tree, list) else [draft.tree]
        rows = [row if isinstance(row, list) else [row] for row in rows]
        cells = [[cell if isinstance(cell, str) else json.dumps(cell) for cell in row] for row in rows]
        if separator == "\t":
            text = "\n".join("\t".join(row) for row in cells)
        else:
            out = io.StringIO()
            try:
                csv.writer(out, lineterminator=draft.draw.choice(("\n", "\r\n"))).writerows(cells)
            except csv.Error:  # a single empty cell
                out.write("\n".join(",".join(row) for row in cells))
            text = out.getvalue()
        return _encoded(draft.resolved(text))

    return render


def _json_lines(draft: Draft) -> bytes:
    rows = draft.tree if isinstance(draft.tree, list) else [draft.tree]
    return _encoded("\n".join(Draft(row, draft.draw, literals=draft.literals).as_json() for row in rows))


def _packed(kind: str) -> Render:
    def render(draft: Draft) -> bytes:
        data = _json(draft)
        if kind == "gz":
            return gzip.compress(data, 1, mtime=0)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("train.json", "more.json")[: draft.draw.choice((1, 1, 1, 1, 2))]:
                archive.writestr(zipfile.ZipInfo(name), data)
        return out.getvalue()

    return render


def _parquet(draft: Draft) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    rows = [row for row in draft.tree if isinstance(row, dict)] if isinstance(draft.tree, list) else []
    try:
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, out)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        return b"PAR1" + _json(draft) + b"PAR1"
    return out.getvalue()


def parsers() -> dict[str, Parser]:
    """All of them, by name."""
    configs = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs").glob("*.yaml"))]
    recipes = tuple(config for config in configs if "grid" not in config)
    sweeps = tuple(config for config in configs if "grid" in config)
    presets, devices = (
        tuple(yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs" / folder).glob("*.yaml")))
        for folder in ("hardware", "training")
    )
    (run, record) = _golden("run.json", "adapters/sst2/adapter.json")
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
        "c": {"dtype": "U8", "shape": [], "data_offsets": [22, 23]},
        "d": {"dtype": "F8_E4M3", "shape": [1, 0, 2], "data_offsets": [23, 23]},
    }
    effect = LayerEffect(layer="a.b", sqnr_db=20.0, error=0.1, alone=0.8, without=0.9)
    effects = Sensitivity(
        task="sst2", metric="accuracy", samples=8, chips=2, at="1d", seed=0, max_drop=0.01, exact=0.9,
        analog=0.8, chosen=0.9, layers=(effect, effect), digital=("a.b",), weights=100, digital_weights=10,
    )
    journal = {"staged": STAGED, "targets": ["adapters/sst2", "results/sst2.json", "README.md", MANIFEST]}
    fault = {"faults": [{"tile": 0}, {"tile": 3, "rows": [0, 7], "cols": [1]}]}
    results = _golden("results/sst2.json")
    parts = tuple({name: _golden(name)[0]} for name in (*CARDED, MANIFEST))
    found = (
        Parser("manifest", 12, MANIFEST, _golden(MANIFEST), _sealed, _manifest, MANIFEST),
        Parser("journal", 14, PENDING, (journal,), _json, _journal, PENDING),
        Parser("tile map", 12, "tile_map.json", _golden("tile_map.json"), _json, partial(_of_model, TileMap), "tile_map.json"),
        Parser("hardware.json", 8, "hardware.json", _golden("hardware.json"), _json, _hardware, "hardware.json"),
        Parser("adapter.json", 12, "adapter.json", (record, *_schedules(record)), _json, _adapter, ""),
        Parser("results", 8, "sst2.json", (*results, *_several(results[0])), _json, _results, ""),
        Parser("sensitivity.json", 10, "sensitivity.json", (effects.model_dump(mode="json"),), _json, partial(_of_model, Sensitivity), "sensitivity.json"),
        Parser("what a card tells", 2, "card.json", parts, _json, _card, "", raw=0.0),
        Parser("safetensors", 16, "a.safetensors", (header,), _tensors, _safetensors, "a.safetensors"),
        Parser("recipe", 5, "recipe.yaml", (*recipes, run), _yaml, _recipe, "recipe.yaml", yaml=True),
        Parser("--set", 6, "set", (run, *recipes), _settings, _set, "", yaml=True),
        Parser("sweep", 6, "sweep.yaml", (*sweeps, _searched(sweeps[0])), _yaml, _sweep, "sweep.yaml", yaml=True),
        Parser("hardware preset", 4, "p.yaml", presets, _yaml, _preset, "p.yaml", yaml=True),
        Parser("device for training", 6, "d.yaml", devices, _yaml, _device, "d.yaml", yaml=True),
        Parser("fault map", 8, "f.yaml", (fault,), _yaml, _faults, "f.yaml", yaml=True),
        Parser("task file", 8, "t.yaml", OWN_TASKS, _yaml, _task, "t.yaml", yaml=True),
        Parser("YAML", 8, "y.yaml", ({"a": [1, 2.5, None, True, "x"], "b": {"c": ""}}, [1], "x", 3), _yaml, _plain_yaml, "y.yaml", yaml=True),
        Parser("time", 16, "time", (*DEFAULT_TIMES, "2.5e3 min", "12"), _bare, _time, ""),
        *_tables(),
    )
    return {parser.name: parser for parser in found}


OWN_TASKS = (
    {"name": "stars", "text": ["review"], "labels": ["bad", "fine", "good"], "train": "a.csv", "dev": "b.csv"},
    {"name": "likeness", "kind": "score", "text": ["one", "other"], "label": "of", "train": "a.tsv", "dev": "b.tsv"},
    {"name": "faq", "kind": "spans", "text": ["q", "c"], "label": "a", "train": "a.json", "dev": "b.json",
     "metric": "exact_match", "epochs": 1.5, "max_length": 320, "description": "x"},
)  # fmt: skip


def _schedules(record: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    stages = [{"since": "0s", "adapter": "one"}, {"since": "1y", "adapter": "two"}]
    pulses = {**record["training"], "in_memory": {"algorithm": {"kind": "residual"}}}
    return {**record, "stages": stages}, {**record, "training": pulses, "input_ranges": {"a": [1.0, 2.0]}}


def _several(results: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Results of three chips with everything that may be in them."""
    row = results["rows"][0]
    rows = [{**row, "chip": chip, "metrics": {"accuracy": 0.7 + chip / 100}} for chip in range(3)]
    alone = [{**part, "part": "read_noise"} for part in rows]
    gate = {"min_accuracy": 0.5, "max_drop": 0.1, "at": row["time"]}
    return ({**results, "rows": rows, "noise_budget": alone, "gate": gate},)


def _searched(sweep: dict[str, Any]) -> dict[str, Any]:
    search = {"adapt.lora.r": {"low": 1, "high": 8, "step": 1}, "seed": [0, 1]}
    rate = {"adapt.learning_rate": {"low": 1.0e-4, "high": 1.0e-2, "log": True}}
    return {**sweep, "grid": {}, "search": search | rate, "points": [{"seed": 3}], "batch": 4}


def _tables() -> Iterator[Parser]:
    one = [["a good film", "1"], ["a bad, very bad book", "negative"], ['it is "fine"', "positive"]]
    two = [["a b", "a c", "0"], ["d\u0301", "e", "1"], ["f", "g", "1"]]
    scored = [["x", "y", "3.8"], ["x", "z", "0"], ["u", "v", "5e0"]]
    grammar = [["gj04", "1", "", "a text"], ["cj99", "0", "*", "text a"]]
    asked = {
        "question": "who is it?", "context": "it is the film", "id": "1",
        "answers": {"text": ["the film", "film"], "answer_start": [6, 10]},
    }  # fmt: skip
    plain = [asked, {**asked, "id": "2", "answers": "film"}]
    answer = [{"text": "the film", "answer_start": 6}]
    qas = [{"question": "who?", "id": str(at), "answers": answer} for at in range(2)]
    squad = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "it is the film", "qas": qas}]}]}
    for name, share, task, ending, samples, render in (
        ("TSV, classes", 10, TASKS["sst2"], "tsv", [[["sentence", "label"], *one]], _rows("\t")),
        ("TSV, without header", 10, TASKS["cola"], "tsv", [grammar], _rows("\t")),
        ("TSV, damaged lines left out", 6, replace(TASKS["qqp"], broken_share=0.5), "tsv", [[["question1", "question2", "label"], *two]], _rows("\t")),
        ("CSV, pairs", 10, TASKS["mrpc"], "csv", [[["sentence1", "sentence2", "label"], *two]], _rows(",")),
        ("CSV, scores", 10, TASKS["stsb"], "csv", [[["sentence1", "sentence2", "score"], *scored]], _rows(",")),
        ("JSON lines, classes", 10, TASKS["sst2"], "jsonl", [[{"sentence": text, "label": of} for text, of in one]], _json_lines),
        ("JSON lines, scores", 8, TASKS["stsb"], "jsonl", [[{"sentence1": a, "sentence2": b, "label": float(of)} for a, b, of in scored]], _json_lines),
        ("JSON lines, spans", 8, TASKS["squad"], "jsonl", [plain], _json_lines),
        ("SQuAD", 8, TASKS["squad"], "json", [squad], _json),
        ("SQuAD in gzip", 6, TASKS["squad"], "json.gz", [squad], _packed("gz")),
        ("SQuAD in a zip", 5, TASKS["squad"], "json.zip", [squad], _packed("zip")),
        ("Parquet", 2, TASKS["sst2"], "parquet", [[{"sentence": text, "label": of} for text, of in one]], _parquet),
    ):  # fmt: skip
        file = f"x.{ending}"
        yield Parser(name, share, file, tuple(samples), render, partial(_table, task), file)
