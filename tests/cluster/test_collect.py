"""Collecting checks what a run made before copying it, and replaces nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.builders.cells import attempt, give
from tests.builders.submissions import all_files, edit_manifest
from vddbench.cluster import follow, status
from vddbench.cluster.cells import distillations, evaluations
from vddbench.cluster.collect import collect
from vddbench.cluster.plan import SUBMISSIONS, Run, write_plan
from vddbench.commands.batch import batch
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import PREDICTIONS, read_record, record_files
from vddbench.spec import Task

TINY = Task(dataset="tiny", ipc=1)


@pytest.fixture(scope="module")
def recorded(tiny: Store, tiny_random: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with the record of seed 0."""
    results = tmp_path_factory.mktemp("results")
    evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=results)
    return results


@pytest.fixture
def run(recorded: Path, tiny_random: Path, home: Path, tmp_path: Path) -> Run:
    """Two cells; the first one is recorded."""
    run = write_plan(tmp_path / "run", evaluations([tiny_random], ["convnet3d"], range(2)), home).run
    shutil.copytree(recorded, run.path / "results")
    return run


def test_records_are_copied_byte_for_byte_and_missing_ones_give_exit_code_3(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = CliRunner().invoke(batch, ["collect", str(run.path), "--results", str(out)])
    assert result.exit_code == 3 and "1 copied" in result.output and "1 missing" in result.output
    (copy,) = record_files(out)
    assert copy.read_bytes() == run.made(run.cells[0]).read_bytes()
    assert read_record(copy)[0] == read_record(run.made(run.cells[0]))[0]
    again = collect(run, out, tmp_path)
    assert (again.copied, again.there, again.missing) == ([], [0], [1])
    copy.write_text("another record")
    assert list(collect(run, out, tmp_path).other) == [0] and copy.read_text() == "another record"


def test_damaged_records_are_not_copied(run: Run, tmp_path: Path) -> None:
    predictions = run.made(run.cells[0]).with_suffix(PREDICTIONS)
    predictions.write_bytes(predictions.read_bytes()[:-10])
    collected = collect(run, tmp_path / "results", tmp_path)
    assert list(collected.damaged) == [0] and "is not valid" in collected.damaged[0] and not (tmp_path / "results").exists()


def test_a_record_whose_place_another_one_has_is_a_failed_cell(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index,) = collect(run, tmp_path, tmp_path).copied
    (tmp_path / Path(run.makes(run.cells[index])).relative_to("results")).write_text("another record")
    monkeypatch.setattr(follow, "work", lambda *_, **__: None)
    assert follow.finish(run, {}, "local", tmp_path, tmp_path) == 1


def test_a_record_that_is_damaged_later_is_one_failed_cell(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(run, give(run, "local", cells=[0]), 0, "done", num_bytes=10)
    run.made(run.cells[0]).with_suffix(PREDICTIONS).unlink()
    monkeypatch.setattr(status, "LATE_SECONDS", 0)  # of a shared file system
    monkeypatch.setattr(follow, "work", lambda *_, **__: None)
    assert follow.finish(run, {}, "local", tmp_path / "results", tmp_path / "submissions") == 1


def test_of_a_distilled_set_only_manifest_and_payload_are_copied(tiny: Store, home: Path, tmp_path: Path) -> None:
    run = write_plan(tmp_path / "run", distillations(["mean", "random"], TINY, range(2), None), home).run
    for method in ("mean", "random"):
        distill(method, TINY, 0, run.path / SUBMISSIONS)
    mean, random = (run.path / SUBMISSIONS / "tiny-ipc1" / name for name in ("mean", "random"))
    (mean / "evil.sh").write_text("rm -rf /")
    (tmp_path / "secret").write_text("a file of somebody else")
    (random / "data.safetensors").unlink()
    (random / "data.safetensors").symlink_to(tmp_path / "secret")
    collected = collect(run, tmp_path, tmp_path / "taken")
    assert (collected.copied, collected.missing) == ([0], [1, 3]) and "leaves its folder" in collected.damaged[2]
    assert all_files(tmp_path / "taken") == ["tiny-ipc1/mean/data.safetensors", "tiny-ipc1/mean/manifest.json"]
    assert collect(run, tmp_path, tmp_path / "taken").there == [0]
    edit_manifest(mean, distill_seconds=99.0)  # distilled again: other seconds, the same payload
    assert collect(run, tmp_path, tmp_path / "taken").there == [0]
    edit_manifest(mean, paper="https://example.org")
    assert list(collect(run, tmp_path, tmp_path / "taken").other) == [0]
