"""Planning writes down what is missing, once, and refuses files that it did not write."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.builders.cells import give, planned
from tests.builders.published import claimed
from tests.builders.submissions import edit_manifest, written
from vddbench.cluster import follow, slurm
from vddbench.cluster.access import private_folder
from vddbench.cluster.cells import distillations, evaluations
from vddbench.cluster.jobs import Attempts, add_job, job_file, new_job, read_attempts, read_jobs, write_attempts
from vddbench.cluster.plan import MAX_CELLS, Planned, Run, wait_for, write_plan
from vddbench.cluster.planning import evaluate_plan
from vddbench.cluster.resources import Resources
from vddbench.cluster.screen import GROUPS_SHOWN, show_plan
from vddbench.cluster.submit import bundles, shares
from vddbench.data.store import Store
from vddbench.evaluation.speed import Speed
from vddbench.protocol import PROTOCOL, Sdd
from vddbench.spec import Task


def test_cells_are_submissions_times_students_times_seeds(tmp_path: Path) -> None:
    paths = [written(tmp_path, method=method) for method in ("mine", "yours")]
    result = write_plan(tmp_path / "run", evaluations(paths, ["convnet3d", "convnet_gru"], range(3)), tmp_path)
    cells = result.run.cells
    assert result.new == len(cells) == 2 * 2 * 3
    assert [cell.index for cell in cells] == list(range(12))
    assert len({cell.makes for cell in cells}) == 12
    assert cells[0].makes.startswith("results/tiny-ipc1/mine@") and cells[0].makes.endswith("/convnet3d/seed0.json")


def test_planning_twice_changes_nothing_and_new_cells_are_appended(tmp_path: Path) -> None:
    first = planned(tmp_path)
    cells = first.cells
    before = (first.path / "cells.jsonl").read_bytes()
    assert planned(tmp_path).plan == first.plan and (first.path / "cells.jsonl").read_bytes() == before
    more = planned(tmp_path, ("mine", "yours"), seeds=3)
    assert more.cells[:2] == cells and len(more.cells) == 6 and more.plan == first.plan
    slow = [cell.model_copy(update={"seconds": 7.0}) for cell in cells[:1]]  # a duration that is known by now
    again = write_plan(first.path, slow, tmp_path)
    assert again.new == 0 and [cell.seconds for cell in again.run.cells] == [7.0, *[None] * 5]


def test_a_cell_of_a_run_cannot_be_planned_with_other_epochs_or_probes(tmp_path: Path) -> None:
    """Both make the same file, so the run would silently keep the old cell."""
    paths = [written(tmp_path)]
    for kind, other in (((False, Sdd(epochs=5)), (False, Sdd(epochs=6))), ((False, PROTOCOL), (True, PROTOCOL))):
        before = write_plan(tmp_path / "run", evaluations(paths, ["convnet3d"], [0], *kind), tmp_path).run.cells
        with pytest.raises(ValueError, match=r"the run has tiny-ipc1 mine convnet3d.* seed 0 with epochs .*in another folder"):
            write_plan(tmp_path / "run", evaluations(paths, ["convnet3d"], [0], *other), tmp_path)
        assert Run.open(tmp_path / "run").cells == before


def test_recorded_cells_are_not_planned_and_a_damaged_record_is_made_again(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    (record,) = claimed(results, tiny_random, [10], first_seed=1)
    planned = evaluate_plan([tiny_random], ["convnet3d"], range(3), results, tmp_path / "a")
    assert (planned.new, planned.recorded) == (2, 1) and [cell.seed for cell in planned.run.cells] == [0, 2]
    record.write_text("{}")
    planned = evaluate_plan([tiny_random], ["convnet3d"], range(3), results, tmp_path / "b")
    assert (planned.new, planned.recorded) == (3, 0) and record.with_name("seed1.broken1.json").exists()
    claimed(results, tiny_random, [10], first_seed=1)
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "without data"))
    assert evaluate_plan([tiny_random], ["convnet3d"], range(3), results, tmp_path / "c").recorded == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protocol_hash": "1" * 64}, "protocol_hash 1111111111111111"),
        ({"store_digest": "2" * 64}, "store_digest 2222222222222222"),
    ],
)
def test_a_record_of_another_protocol_version_or_store_is_not_the_planned_one(
    changes: dict[str, str], says: str, tiny_random: Path, tmp_path: Path
) -> None:
    claimed(tmp_path / "results", tiny_random, [10], **changes)
    with pytest.raises(ValueError, match=f"seed0.json was made under other conditions: {says}.*; use another --results folder"):
        evaluate_plan([tiny_random], ["convnet3d"], range(3), tmp_path / "results", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_durations_come_from_records_of_the_same_task_and_student(tmp_path: Path) -> None:
    paths = [written(tmp_path / "submissions")]
    folder = tmp_path / "results/tiny-ipc1/other@00000000/convnet3d"
    folder.mkdir(parents=True)
    texts = [json.dumps({"train_seconds": seconds, "test_seconds": 1}) for seconds in (10, 30, 50)]
    texts += ["not JSON", "[" * 50_000, "[]", '{"train_seconds": -1e9, "test_seconds": 1}']
    texts += [f'{{"train_seconds": {"9" * 400}, "test_seconds": 1}}']
    for seed, text in enumerate(texts):
        (folder / f"seed{seed}.json").write_text(text)
    run = evaluate_plan(paths, ["convnet3d", "convnet_gru"], [0], tmp_path / "results", tmp_path / "run").run
    assert [cell.seconds for cell in run.cells] == [31.0, None]


def test_durations_without_a_record_are_measured_on_request(
    tiny: Store, tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a made-up speed of the machine: 2 steps of 8 clips, and all views of the test and validation videos."""
    speed = Speed(train=10.0, bare_train=0.0, test=1.0, bare_test=0.0, gflop=0.0)
    monkeypatch.setattr("vddbench.evaluation.speed.measure", lambda *arguments: speed)
    run = evaluate_plan([tiny_random], ["convnet3d"], range(2), tmp_path / "results", tmp_path / "run", measure=True).run
    test_clips = (len(tiny.test) + len(tiny.validation)) * PROTOCOL.test_views
    assert [cell.seconds for cell in run.cells] == [2 * 8 * 10.0 + test_clips] * 2


def test_a_set_that_is_packed_again_is_evaluated_in_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old run has a cell that always fails, because its set was changed."""
    folders: list[Path] = []

    def spied(*args: Any, **options: Any) -> Planned:
        folders.append(args[-1])
        raise LookupError("planned")

    monkeypatch.setattr(follow, "evaluate_plan", spied)
    path = written(tmp_path)
    for sha256 in ("a" * 64, "a" * 64, "b" * 64):
        edit_manifest(path, sha256=sha256)
        with pytest.raises(LookupError, match="planned"):
            follow.evaluate([path], ["convnet3d"], range(2), tmp_path, "local", None)
    assert folders[0] == folders[1] != folders[2]


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
        '{"index":0,"index":0,"kind":"evaluate","task":"a-ipc1","method":"m","seed":0,"makes":"results/x"}',
        '{"index":0,"kind":"run this","task":"a-ipc1","method":"m","seed":0,"makes":"results/x"}',
        "x" * 30_000,
    ],
)
def test_cells_that_this_program_did_not_write_are_refused(line: str, tmp_path: Path) -> None:
    run = planned(tmp_path)
    (run.path / "cells.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1"):
        _ = Run.open(run.path).cells


def test_a_folder_without_a_plan_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vddbench batch plan"):
        Run.open(tmp_path)
    (tmp_path / "plan.json").write_text('{"run_id": "../x"}')
    with pytest.raises(ValueError, match="not written by this version"):
        Run.open(tmp_path)


def test_a_command_waits_until_another_has_changed_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = planned(tmp_path)
    order = []

    def second() -> None:
        with run.locked():
            order.append(2)

    thread = threading.Thread(target=second)
    with run.locked():
        thread.start()
        thread.join(0.3)
        order.append(1)
    thread.join()
    assert order == [1, 2] and "waiting for it" in capfd.readouterr().err


def test_another_home_needs_another_run(tmp_path: Path) -> None:
    run = planned(tmp_path)
    with pytest.raises(ValueError, match=r"VDDBENCH_HOME=.* --run .*or delete this one"):
        write_plan(run.path, [], tmp_path / "elsewhere")


@pytest.mark.parametrize("folder", ["", "slurm"])
def test_a_folder_that_others_can_write_gets_no_pickles(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planned(tmp_path)
    job = give(run)
    assert private_folder(run, job).parent.stat().st_mode & 0o777 == 0o700
    (run.path / folder).chmod(0o775)
    with pytest.raises(ValueError, match="delete it" if folder else "chmod go-w"):
        slurm.submit(run, job)
    (run.path / folder).chmod(0o700)
    private_folder(run, job)
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(ValueError, match="another user"):
        private_folder(run, job)


def test_files_that_a_shared_disk_shows_late_are_waited_for(tmp_path: Path) -> None:
    late = tmp_path / "late"
    timer = threading.Timer(0.5, late.touch)
    timer.start()
    wait_for(late, seconds=20)
    timer.join()
    with pytest.raises(FileNotFoundError, match="shared by all nodes"):
        wait_for(tmp_path / "never", seconds=0.1)


def test_short_cells_share_a_task_of_ten_minutes(tmp_path: Path) -> None:
    cells = [cell.model_copy(update={"seconds": 100.0}) for cell in planned(tmp_path, ("mine", "yours"), seeds=8).cells]
    assert bundles(cells, None) == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9, 10, 11, 12, 13], [14, 15]]  # never two submissions
    assert bundles(cells, 3)[0] == [0, 1, 2]
    unknown = [cell.model_copy(update={"seconds": None}) for cell in cells]
    assert all(len(task) == 1 for task in bundles(unknown, None))


def test_arrays_share_the_tasks_that_may_run_at_a_time() -> None:
    assert shares(10, 3) == [4, 3, 3] and shares(None, 2) == [None, None]
    with pytest.raises(ValueError, match="larger --bundle"):
        shares(2, 3)


def test_jobs_are_read_as_written_and_a_number_is_used_once(tmp_path: Path) -> None:
    run = planned(tmp_path)
    job = new_job(run, "slurm", [[0], [1]], Resources(setup=("module load x",), mem=1.5))
    add_job(run, job)
    assert read_jobs(run) == [job] and new_job(run, "slurm", [], Resources()).number == 2
    with pytest.raises(ValueError, match="just submitted"):  # another command's job, which our disk shows late
        add_job(run, job)
    job_file(run, 1).write_text('{"number": 1, "tasks": "rm -rf"}')
    with pytest.raises(ValueError, match="not written by this version"):
        read_jobs(run)


def test_attempts_are_read_as_written_and_damaged_ones_left_out(tmp_path: Path) -> None:
    run = planned(tmp_path)
    attempts = Attempts().start().end("oom", 2.0, tail="killed").start()
    assert (attempts.started, attempts.ended, attempts.outcome, attempts.seconds) == (2, {"oom": 1}, None, 2.0)
    write_attempts(run, 1, 0, attempts)
    (run.path / "jobs/1/1.json").write_text('{"started": 1, "outc')
    assert read_attempts(run, 1) == {0: attempts} and read_attempts(run, 2) == {}


def test_names_from_files_cannot_command_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = planned(tmp_path)
    text = (run.path / "cells.jsonl").read_text().replace('"method":"mine"', '"method":"[/x]\\u001b]0;x\\u0007"')
    (run.path / "cells.jsonl").write_text(text)
    show_plan(Planned(Run.open(run.path), 0))
    assert "\x1b" not in capsys.readouterr().out


def test_a_plan_shows_durations_if_some_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = planned(tmp_path)
    known = [cell.model_copy(update={"seconds": 60.0}) for cell in run.cells]
    show_plan(Planned(run, 0))
    output = capsys.readouterr()
    assert "hours" not in output.out and "?" not in output.out and "on Slurm they are 2 array tasks\n" in output.err
    show_plan(Planned(write_plan(run.path, known, Path(run.plan.home)).run, 0))
    assert "time per cell" in capsys.readouterr().out


def test_a_plan_of_many_groups_counts_the_tasks_of_each_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = planned(tmp_path)
    tasks = [f"{name}-ipc{ipc}" for name in ("miniucf", "hmdb51") for ipc in (1, 5)]
    methods = [f"m{number}" for number in range(GROUPS_SHOWN // len(tasks))]
    cells = [("miniucf-full", "full"), ("hmdb51-full", "full"), ("miniucf-ipc1", "once")]
    cells += [(task, method) for method in methods for task in tasks]
    line = (run.path / "cells.jsonl").read_text().splitlines()[0]
    texts = [
        json.dumps({**json.loads(line), "index": index, "task": task, "method": method})
        for index, (task, method) in enumerate(cells)
    ]
    (run.path / "cells.jsonl").write_text("\n".join(texts) + "\n")
    show_plan(Planned(Run.open(run.path), 0))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["2", "tasks", "full"] in [row[:3] for row in rows] and ["miniucf-ipc1", "once"] in [row[:2] for row in rows]
    assert all(["4", "tasks", method] in [row[:3] for row in rows] for method in methods)


@pytest.mark.parametrize("word", ["gpu\ntouch x", "a b", "x'y", "$(x)", "`x`", ";x", ""])
def test_names_of_partitions_are_one_word(word: str) -> None:
    with pytest.raises(ValueError, match="partition"):
        Resources(partition=word)


def test_the_number_of_cells_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_CELLS >= 10_000
    monkeypatch.setattr("vddbench.cluster.plan.MAX_CELLS", 1)
    with pytest.raises(ValueError, match="plan several runs"):
        planned(tmp_path)
