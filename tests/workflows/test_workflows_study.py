"""Studies of training in memory: what they are, how rates are chosen, and that a stopped one goes on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from aimc_deploy.config.executor import Local
from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.errors import ArtifactError, ConfigError
from aimc_deploy.workflows import study as workflow
from aimc_deploy.workflows.study import digits, results
from aimc_deploy.workflows.study.job import SAMPLES, TRAIN, VALIDATION, Job, Row, Work
from aimc_deploy.workflows.study.studies import DIGITAL, STUDIES, Point, Study, study

RESIDUAL = InMemory.model_validate({"algorithm": {"kind": "residual", "columns": 8}, "device": {"tau": 0.8}})
SGD = InMemory.model_validate({"algorithm": {"kind": "analog_sgd"}})
TINY = Study(
    "tiny",
    "a tiny study",
    "tau",
    (
        Point(DIGITAL, None, None, (0.5, 1.0), 1),
        Point("residual", 0.8, RESIDUAL, (0.2,), 1),
        Point("Analog SGD", 0.6, SGD, (1.0,), 1),
    ),
)
ONE = Local(workers=1)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    workflow.run(TINY, out, seeds=2, executor=ONE)
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_made_of_valid_points_and_a_baseline(name: str) -> None:
    asked = study(name)
    places = Counter((point.method, point.x) for point in asked.points)
    assert set(places.values()) == {1}
    assert asked.points[0].method == DIGITAL
    assert asked.points[0].settings is None
    assert len(asked.points) > 6
    assert {point.epochs for point in asked.points} <= {20, 30}
    assert {point.epochs for point in study(name, 3).points} == {3}
    settings = Counter(
        (point.settings.model_dump_json(), point.rates) for point in asked.points if point.settings
    )
    assert set(settings.values()) == {1}, "two points would be the same runs"


def test_a_study_that_is_not_there_and_numbers_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no study 'taus': choose one of tau, responses"):
        study("taus")
    with pytest.raises(ConfigError, match="0 epochs: 1 at least"):
        study("tau", 0)
    for seeds in (0, -1, 1001):
        with pytest.raises(ConfigError, match=f"{seeds} seeds: from 1 to 1000"):
            workflow.run(TINY, tmp_path, seeds=seeds)
    assert not list(tmp_path.iterdir())


def test_rates_are_chosen_by_digits_that_are_neither_learned_from_then_nor_in_the_test_part() -> None:
    choosing, reported = digits.split("validation"), digits.split("test")

    def images(part: torch.Tensor) -> Counter[tuple[float, ...]]:
        return Counter(tuple(image) for image in part.tolist())

    assert len(choosing.judge_x) == VALIDATION
    assert len(reported.x) == TRAIN
    assert len(reported.judge_x) == SAMPLES - TRAIN == 450
    assert images(choosing.x) + images(choosing.judge_x) == images(reported.x)
    assert not images(reported.x) & images(reported.judge_x), "an image is in both"


def test_the_best_rate_is_taken_and_the_test_part_left_alone_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Job] = []

    def compute(work: Work) -> Row:
        job = work.job
        asked.append(job)
        accuracy = {0.1: 50.0, 0.5: 90.0, 1.0: 90.0}[job.lr] + (job.seed if job.part == "test" else 0)
        return Row(
            key=job.key,
            seed=job.seed,
            lr=job.lr,
            accuracy=accuracy,
            loss=1.0,
            stopped=None,
            first_layer=None,
        )

    monkeypatch.setattr(workflow, "compute", compute)
    points = (Point(DIGITAL, None, None, (1.0, 0.1, 0.5), 1), Point("residual", 0.8, RESIDUAL, (0.1,), 1))
    found = workflow.run(Study("s", "s", "x", points), tmp_path, seeds=3, executor=ONE).results
    assert [(job.part, job.seed) for job in asked[:3]] == [("validation", 1000)] * 3
    assert [(job.part, job.seed, job.lr) for job in asked[3:6]] == [("test", seed, 0.5) for seed in range(3)]
    chosen, given = found.cells
    assert (chosen.lr, chosen.mean, chosen.std) == (0.5, 91.0, 1.0), "of equals the lowest"
    assert [(part.lr, part.accuracy) for part in chosen.candidates] == [(1.0, 90.0), (0.1, 50.0), (0.5, 90.0)]
    assert (given.lr, given.candidates, given.mean) == (0.1, (), 51.0)


def test_what_a_study_gives(undisturbed: Path) -> None:
    found = results.read(undisturbed / "results.json")
    assert found.methods == [DIGITAL, "residual", "Analog SGD"]
    assert found.columns == [0.8, 0.6]
    assert found.cell("residual", 0.6) is None
    baseline = found.cell(DIGITAL, 0.6)
    assert baseline is not None
    best = max(baseline.candidates, key=lambda part: (part.accuracy, -part.lr))
    assert baseline.lr == best.lr
    residual = found.cell("residual", 0.8)
    assert residual is not None
    assert residual.settings is not None
    assert residual.settings["algorithm"]["gamma"] == 0.4
    first, second = residual.rows
    assert (first.seed, second.seed) == (0, 1)
    assert first.loss != second.loss
    assert first.first_layer is not None
    assert first.first_layer["steps"] == 135
    assert first.first_layer["arrays"]["p"]["pulses_per_device"] > 0
    assert found.versions["torch"] == torch.__version__
    (warning,) = found.warnings
    assert warning.startswith("analog_sgd: ")
    table = (undisturbed / "results.csv").read_text().splitlines()
    assert table[0].startswith(
        "study,method,tau,epochs,lr,seed,accuracy,loss,stopped,p.energy_pj,p.from_symmetric_point"
    )
    assert len(table) == 1 + 3 * 2
    assert table[3].startswith("tiny,residual,0.8,1,0.2,0,")
    picture = (undisturbed / "accuracy.svg").read_text()
    assert "residual" in picture
    assert DIGITAL in picture


def test_a_study_that_was_stopped_goes_on_to_the_same_bytes(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def stops(work: Work) -> Row:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(work.job)
        return real(work)

    real = workflow.compute
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "compute", stops)
        with pytest.raises(KeyboardInterrupt):
            workflow.run(TINY, tmp_path, seeds=2, executor=ONE)
    assert sum(part.done for part in workflow.listed(TINY, tmp_path, 2)) == 4
    assert not (tmp_path / "results.json").exists()
    assert workflow.run(TINY, tmp_path, seeds=2, executor=ONE).kept == 4
    assert contents(tmp_path) == contents(undisturbed)
    assert [(part.done, part.runs) for part in workflow.listed(TINY, tmp_path, 2)] == [(4, 4), (2, 2), (2, 2)]


def test_a_damaged_or_foreign_run_is_done_again(undisturbed: Path, tmp_path: Path) -> None:
    for name, data in contents(undisturbed).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    damaged, foreign, other = sorted((tmp_path / "runs").iterdir())[:3]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    foreign.write_bytes(other.read_bytes())
    assert workflow.run(TINY, tmp_path, seeds=2, executor=ONE).kept == 6
    assert contents(tmp_path) == contents(undisturbed)


@pytest.mark.slow
def test_no_byte_depends_on_how_many_workers_there_are(undisturbed: Path, tmp_path: Path) -> None:
    workflow.run(TINY, tmp_path, seeds=2, executor=Local(workers=2))
    assert contents(tmp_path) == contents(undisturbed)


def test_a_training_that_cannot_go_on_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits.split("test")
    monkeypatch.setattr(digits, "split", lambda part: data._replace(x=data.x * torch.inf))
    row = digits.train(Job(RESIDUAL, 0.1, 2, 0, "test"))
    assert row.stopped is not None
    assert row.stopped.startswith("epoch 1: layer '0': inputs or gradients are not finite")
    assert row.loss is None
    assert 0 <= row.accuracy <= 100


def test_results_of_something_else_are_refused(undisturbed: Path, tmp_path: Path) -> None:
    content = json.loads((undisturbed / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({**content, "schema_version": 2}))
    with pytest.raises(
        ArtifactError, match="holds no results of a study: 1 mistakes, such as schema_version"
    ):
        results.read(tmp_path / "results.json")
