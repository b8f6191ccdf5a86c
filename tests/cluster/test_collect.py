"""What a run made is checked before it is copied, and copying twice does nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.builders.submissions import all_files
from vddbench.cluster.collect import collect
from vddbench.cluster.plan import SUBMISSIONS, Run, distillations, evaluations, write_plan
from vddbench.commands.batch import batch
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import record_files
from vddbench.spec import Task


@pytest.fixture
def run(tiny: Store, tiny_random: Path, home: Path, tmp_path: Path) -> Run:
    """Two cells of which one is recorded."""
    run, _ = write_plan(tmp_path / "run", evaluations([tiny_random], ["convnet3d"], range(2)), home)
    evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=run.path / "results")
    return run


def test_records_are_copied_byte_for_byte_and_what_is_missing_is_exit_code_3(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = CliRunner().invoke(batch, ["collect", str(run.path), "--results", str(out)])
    assert result.exit_code == 3 and "1 copied" in result.output and "1 missing" in result.output
    (copy,) = record_files(out)
    assert copy.read_bytes() == run.made(run.cells[0]).read_bytes()
    again = collect(run, out, tmp_path)
    assert (again.copied, again.there, again.missing) == ([], [0], [1])


def test_damaged_records_stay_behind(run: Run, tmp_path: Path) -> None:
    made = run.made(run.cells[0])
    made.with_suffix(".safetensors").write_bytes(made.with_suffix(".safetensors").read_bytes()[:-10])
    found = collect(run, tmp_path / "results", tmp_path)
    assert list(found.damaged) == [0] and "is not valid" in found.damaged[0] and not (tmp_path / "results").exists()


def test_a_record_that_is_there_is_never_replaced(run: Run, tmp_path: Path) -> None:
    collect(run, tmp_path / "results", tmp_path)
    (copy,) = record_files(tmp_path / "results")
    copy.write_text("of somebody else")
    found = collect(run, tmp_path / "results", tmp_path)
    assert list(found.other) == [0] and copy.read_text() == "of somebody else"


def test_of_a_distilled_set_only_what_belongs_to_it_is_taken(tiny: Store, home: Path, tmp_path: Path) -> None:
    task = Task(dataset="tiny", ipc=1)
    run, _ = write_plan(tmp_path / "run", distillations(["mean", "random"], task, [0], None), home)
    for method in ("mean", "random"):
        distill(method, task, 0, run.path / SUBMISSIONS)
    folder = run.path / SUBMISSIONS / "tiny-ipc1" / "mean"
    (folder / "evil.sh").write_text("rm -rf /")
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    (run.path / SUBMISSIONS / "tiny-ipc1" / "random" / "data.safetensors").unlink()
    (run.path / SUBMISSIONS / "tiny-ipc1" / "random" / "data.safetensors").symlink_to(secret)
    found = collect(run, tmp_path, tmp_path / "taken")
    assert found.copied == [0] and "leaves its folder" in found.damaged[1]
    assert all_files(tmp_path / "taken") == ["tiny-ipc1/mean/data.safetensors", "tiny-ipc1/mean/manifest.json"]


def test_distilled_sets_are_collected_too(tiny: Store, home: Path, tmp_path: Path) -> None:
    task = Task(dataset="tiny", ipc=1)
    run, _ = write_plan(tmp_path / "run", distillations(["mean"], task, range(2), None), home)
    distill("mean", task, 0, run.path / SUBMISSIONS)
    found = collect(run, tmp_path, tmp_path / "submissions")
    assert (found.copied, found.missing) == ([0], [1])
    assert all_files(tmp_path / "submissions") == ["tiny-ipc1/mean/data.safetensors", "tiny-ipc1/mean/manifest.json"]
    assert collect(run, tmp_path, tmp_path / "submissions").there == [0]
