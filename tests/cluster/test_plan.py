"""Planning writes down what there is to do, once, and believes nothing that it did not write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders.submissions import written
from vddbench.cluster import jobs
from vddbench.cluster.jobs import Resources
from vddbench.cluster.plan import MAX_CELLS, Run, distillations, evaluations, wait_for, write_plan
from vddbench.cluster.planning import evaluate_plan
from vddbench.cluster.planning import show as show_plan
from vddbench.cluster.submit import bundles, shares
from vddbench.data.store import Store
from vddbench.evaluation.speed import Speed
from vddbench.protocol import V1
from vddbench.spec import Task


def planned(tmp_path: Path, methods: tuple[str, ...] = ("mine",), seeds: int = 2) -> Run:
    paths = [written(tmp_path / "submissions", method=method) for method in methods]
    return write_plan(tmp_path / "run", evaluations(paths, ["convnet3d"], range(seeds)), tmp_path)[0]


def test_cells_are_submissions_times_students_times_seeds(tmp_path: Path) -> None:
    paths = [written(tmp_path, method=method) for method in ("mine", "yours")]
    run, new = write_plan(tmp_path / "run", evaluations(paths, ["convnet3d", "convnet_gru"], range(3)), tmp_path)
    assert new == len(run.cells) == 2 * 2 * 3
    assert [cell.index for cell in run.cells] == list(range(12))
    assert len({cell.makes for cell in run.cells}) == 12
    assert run.cells[0].makes.startswith("results/tiny-ipc1/mine@") and run.cells[0].makes.endswith("/convnet3d/seed0.json")


def test_planning_twice_changes_nothing_and_more_is_added_behind(tmp_path: Path) -> None:
    first = planned(tmp_path)
    cells = first.cells
    before = (first.path / "cells.jsonl").read_bytes()
    assert planned(tmp_path).plan == first.plan and (first.path / "cells.jsonl").read_bytes() == before
    more = planned(tmp_path, ("mine", "yours"), seeds=3)
    assert more.cells[:2] == cells and len(more.cells) == 6 and more.plan == first.plan


def test_what_is_recorded_already_is_not_planned(tmp_path: Path) -> None:
    paths = [written(tmp_path / "submissions")]
    run, _, _ = evaluate_plan(paths, ["convnet3d"], range(3), tmp_path / "results", tmp_path / "a")
    there = tmp_path / run.cells[1].makes
    there.parent.mkdir(parents=True)
    there.write_text("{}")
    run, new, recorded = evaluate_plan(paths, ["convnet3d"], range(3), tmp_path / "results", tmp_path / "b")
    assert (new, recorded) == (2, 1) and [cell.seed for cell in run.cells] == [0, 2]


def test_estimates_come_from_records_of_the_same_task_and_student(tmp_path: Path) -> None:
    paths = [written(tmp_path / "submissions")]
    for seed, seconds in enumerate((10, 30, 50)):
        file = tmp_path / f"results/tiny-ipc1/other@00000000/convnet3d/seed{seed}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"train_seconds": seconds, "test_seconds": 1, "environment": {"device": "H200"}}))
    spoiled = (
        "not JSON",
        "[" * 50_000,
        '{"train_seconds": -1e9, "test_seconds": 1}',
        f'{{"train_seconds": {"9" * 400}, "test_seconds": 1}}',
    )
    for i, text in enumerate(spoiled):
        (file.parent / f"seed{7 + i}.json").write_text(text)
    run, _, _ = evaluate_plan(paths, ["convnet3d", "convnet_gru"], [0], tmp_path / "results", tmp_path / "run")
    assert [cell.seconds for cell in run.cells] == [31.0, None]


def test_what_no_record_tells_is_measured_when_asked(
    tiny: Store, tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's speed is made up here; what is made of it is not: 2 steps of 8 clips, and all views of 48 videos."""
    speed = Speed(train=10.0, bare_train=0.0, test=1.0, bare_test=0.0, gflop=0.0)
    monkeypatch.setattr("vddbench.leaderboard.studies.bench.students.measure", lambda *given: speed)
    run, _, _ = evaluate_plan([tiny_random], ["convnet3d"], range(2), tmp_path / "results", tmp_path / "run", measure=True)
    tested = (len(tiny.test) + len(tiny.validation)) * V1.test_views
    assert [cell.seconds for cell in run.cells] == [2 * 8 * 10.0 + tested] * 2


def test_unknown_students_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="convnet3d"):
        evaluate_plan([written(tmp_path)], ["convnet3"], [0], tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_distillations_are_planned_where_distill_writes_them() -> None:
    cells = list(distillations(["dm", "mtt"], Task.parse("tiny-ipc1"), range(2), "fast"))
    assert [cell.makes for cell in cells][:2] == [f"submissions/tiny-ipc1/dm_fast{end}/manifest.json" for end in ("", "-s1")]


@pytest.mark.parametrize(
    "line",
    [
        '{"index":0}',
        "not JSON",
        '{"index":0,"kind":"evaluate","task":"a-ipc1","method":"m","seed":0,"makes":"../../etc/passwd"}',
        '{"index":0,"kind":"evaluate","task":"a-ipc1","method":"m","seed":0,"makes":"/etc/passwd"}',
        '{"index":5,"kind":"evaluate","task":"a-ipc1","method":"m","seed":0,"makes":"results/x"}',
        '{"index":0,"kind":"run this","task":"a-ipc1","method":"m","seed":0,"makes":"results/x"}',
        "x" * 30_000,
    ],
)
def test_cells_that_are_not_ours_are_refused(line: str, tmp_path: Path) -> None:
    run = planned(tmp_path)
    (run.path / "cells.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1"):
        _ = Run.open(run.path).cells


def test_a_folder_without_a_plan_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vddbench batch plan"):
        Run.open(tmp_path)
    (tmp_path / "plan.json").write_text('{"run_id": "../x"}')
    with pytest.raises(ValueError, match="not the plan of a run"):
        Run.open(tmp_path)


def test_two_people_do_not_change_a_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planned(tmp_path)
    monkeypatch.setattr("vddbench.cluster.plan.LOCK_SECONDS", 0.3)
    with run.locked(), pytest.raises(ValueError, match=r"being worked on by .* process \d+"), run.locked():
        pass
    with run.locked():  # free again
        pass


def test_another_home_is_another_run(tmp_path: Path) -> None:
    run = planned(tmp_path)
    with pytest.raises(ValueError, match="VDDBENCH_HOME"):
        write_plan(run.path, [], tmp_path / "elsewhere")


def test_files_that_a_shared_disk_shows_late_are_waited_for(tmp_path: Path) -> None:
    from threading import Timer

    late = tmp_path / "late"
    timer = Timer(0.5, late.touch)
    timer.start()
    wait_for(late, seconds=20)
    timer.join()
    with pytest.raises(FileNotFoundError, match="shared by all nodes"):
        wait_for(tmp_path / "never", seconds=0.1)


def test_short_cells_share_a_task_of_ten_minutes(tmp_path: Path) -> None:
    cells = [cell.model_copy(update={"seconds": 100.0}) for cell in planned(tmp_path, ("mine", "yours"), seeds=8).cells]
    assert bundles(cells, None) == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9, 10, 11, 12, 13], [14, 15]]  # never of two submissions
    assert bundles(cells, 3)[0] == [0, 1, 2]
    unknown = [cell.model_copy(update={"seconds": None}) for cell in cells]
    assert all(len(task) == 1 for task in bundles(unknown, None))


def test_arrays_share_what_may_run_at_a_time() -> None:
    assert shares(10, 3) == [4, 3, 3] and shares(None, 2) == [None, None]
    with pytest.raises(ValueError, match="larger --bundle"):
        shares(2, 3)


def test_a_job_is_what_was_written_of_it(tmp_path: Path) -> None:
    run = planned(tmp_path)
    job = jobs.next_job(run, "slurm", [[0], [1]], Resources(setup=("module load x",), mem=1.5), 1e9)
    jobs.add_job(run, job)
    assert jobs.read_jobs(run) == [job] and jobs.next_job(run, "slurm", [], Resources(), 0).number == 2
    assert job.model_copy(update={"job_id": "7"}).task_id(1) == "7_1"
    with pytest.raises(ValueError, match="just submitted"):  # somebody else's, which our disk shows late
        jobs.add_job(run, job)
    jobs.file_of(run, 1).write_text('{"number": 1, "tasks": "rm -rf"}')
    with pytest.raises(ValueError, match="not from this program"):
        jobs.read_jobs(run)


def test_what_is_known_later_of_how_long_cells_take_is_taken_up(tmp_path: Path) -> None:
    run = planned(tmp_path)
    slow = [cell.model_copy(update={"seconds": 7.0}) for cell in run.cells[:1]]
    again, new = write_plan(run.path, slow, tmp_path)
    assert new == 0 and [cell.seconds for cell in again.cells] == [7.0, None]


def test_names_of_strangers_cannot_command_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = planned(tmp_path)
    text = (run.path / "cells.jsonl").read_text().replace('"method":"mine"', '"method":"[/x]\\u001b]0;x\\u0007"')
    (run.path / "cells.jsonl").write_text(text)
    show_plan(Run.open(run.path), 0, 0)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("word", ["gpu\ntouch x", "a b", "x'y", "$(x)", "`x`", ";x", ""])
def test_names_of_partitions_are_one_word(word: str) -> None:
    with pytest.raises(ValueError, match="partition"):
        Resources(partition=word)


def test_a_run_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CELLS >= 10_000
    monkeypatch.setattr("vddbench.cluster.plan.MAX_CELLS", 1)
    with pytest.raises(ValueError, match="plan several runs"):
        planned(tmp_path)
