"""What `status` says is what files and the queue say; a queue that does not answer makes nothing fail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.builders.submissions import written
from vddbench.cluster import events, jobs, local, slurm
from vddbench.cluster.jobs import Job, Resources
from vddbench.cluster.plan import Run, evaluations, write_plan
from vddbench.cluster.retry import retry
from vddbench.cluster.screen import screen
from vddbench.cluster.slurm import Queued
from vddbench.cluster.status import retryable, status
from vddbench.cluster.submit import submit

CELLS = 6


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Six cells. What they make are no records here: all that counts is that it is there."""
    for module in ("status", "submit"):
        monkeypatch.setattr(f"vddbench.cluster.{module}.is_made", lambda run, cell: run.made(cell).exists())
    path = written(tmp_path / "submissions")
    return write_plan(tmp_path / "run", evaluations([path], ["convnet3d"], range(CELLS)), tmp_path)[0]


def given(run: Run, job_id: str | None = "7", cluster: Any = "slurm") -> Job:
    """A job with a task for each cell."""
    job = jobs.next_job(run, cluster, [[cell.index] for cell in run.cells], Resources(), time.time())
    job = job.model_copy(update={"job_id": job_id})
    jobs.add_job(run, job)
    return job


def happened(run: Run, job: Job, cell: int, *outcomes: Any, **more: Any) -> None:
    for attempt, outcome in enumerate(outcomes, start=1):
        file = events.file_of(run, job.number, cell)
        events.append(file, cell=cell, attempt=attempt)
        if outcome is not None:
            events.append(file, cell=cell, attempt=attempt, outcome=outcome, seconds=3600.0, **more)


def make(run: Run, cell: int, size: int = 10) -> None:
    made = run.made(run.cells[cell])
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text("x" * size)


def in_queue(monkeypatch: pytest.MonkeyPatch, *tasks: int, state: str = "RUNNING", reason: str = "") -> list[int]:
    """Slurm has these tasks of job 7. Returns the list that each question adds to."""
    asked: list[int] = []

    def queue(jobs: Any) -> dict[str, Queued]:
        asked.append(1)
        return {f"7_{task}": Queued(state, reason) for task in tasks}

    monkeypatch.setattr(slurm, "queue", queue)
    return asked


def states(run: Run) -> list[str]:
    return [at.state + (f" {at.why}" if at.why else "") for at in status(run).cells]


def away(jobs: Any) -> dict[str, Queued]:
    raise slurm.Unanswered("connection refused")


def test_cells_are_planned_until_they_are_given_to_a_job(run: Run) -> None:
    assert status(run).counts == {"done": 0, "running": 0, "pending": 0, "failed": 0, "planned": CELLS}


def test_every_cell_stands_somewhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = given(run)
    asked = in_queue(monkeypatch, 0, 1, 3)
    happened(run, job, 0, "done")  # in the queue still: its file counts
    make(run, 0)
    happened(run, job, 1, None)
    happened(run, job, 2, "oom", "oom", "oom", tail="killed")
    happened(run, job, 3, "interrupted")
    happened(run, job, 4, None)  # gone from the queue: the node died and Slurm gave it up
    assert states(run) == ["done", "running", "failed oom", "pending", "failed lost", "failed lost"]
    assert len(asked) == 1
    found = status(run)
    assert (
        found.failed == {"oom": 1, "lost": 2} and found.failures[0]["tail"] == "killed" and found.failures[0]["attempts"] == 3
    )
    assert 5.0 <= found.hours_spent < 5.1  # 1 done, 3 tries, 1 interrupted, and what runs since a moment
    assert list(retryable(found, None)) == [2, 4, 5] and list(retryable(found, {"oom"})) == [2]


def test_reasons_that_no_waiting_changes_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given(run)
    in_queue(monkeypatch, *range(CELLS), state="PENDING", reason="PartitionTimeLimit")
    found = status(run)
    assert found.waiting == found.never == {"PartitionTimeLimit": CELLS}
    assert "does not pass by waiting" in drawn(run)
    in_queue(monkeypatch, *range(CELLS), state="PENDING", reason="Priority")
    assert status(run).never == {}


def test_a_queue_that_does_not_answer_is_said_and_nothing_is_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = given(run)
    monkeypatch.setattr(slurm, "queue", away)
    happened(run, job, 0, None)
    make(run, 1)
    assert states(run) == ["running", "done", *["pending"] * 4]
    assert "Slurm does not answer" in drawn(run)
    with pytest.raises(ValueError, match="must not be submitted again"):
        retry(run, "slurm", {}, None, None, False)


def test_a_file_that_is_shown_late_is_waited_for_and_one_cut_short_is_not_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = given(run)
    in_queue(monkeypatch)
    happened(run, job, 0, "done", num_bytes=10)
    happened(run, job, 1, "done", num_bytes=10)
    make(run, 1, size=4)
    assert states(run)[:2] == ["running its files are not seen yet"] * 2
    monkeypatch.setattr("vddbench.cluster.status.LATE_SECONDS", -1.0)
    assert states(run)[:2] == ["failed lost"] * 2


def test_cells_of_a_pool_that_was_killed_are_lost_and_of_one_that_lives_are_not(run: Run) -> None:
    job = given(run, None, "local")
    happened(run, job, 0, None)
    with local.held(run, job):
        assert states(run)[:2] == ["running", "pending"]
    assert states(run)[:2] == ["failed lost", "failed lost"]


def test_json_and_screen_show_the_same_numbers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = given(run)
    in_queue(monkeypatch, *range(3, CELLS), state="PENDING", reason="Resources")
    for cell in range(3):
        make(run, cell)
        happened(run, job, cell, "done")
    shown = json.loads(json.dumps(status(run).to_json()))
    assert shown["counts"]["done"] == 3 and shown["waiting"] == {"Resources": 3} and "cells" not in shown
    assert shown["eta_seconds"] == pytest.approx(3 / shown["cells_per_hour"] * 3600)
    assert "3 done" in drawn(run) and "3 pending: Resources" in drawn(run)


def test_logs_on_the_screen_cannot_command_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = given(run)
    in_queue(monkeypatch)
    happened(run, job, 0, "bug", tail="\x1b]0;title\x07 [bold]x[/bold]")
    assert "\x1b]" not in drawn(run) and "[bold]x[/bold]" in drawn(run)


def drawn(run: Run) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115 - drawn for its text
    with console.file:
        console.print(screen(status(run)))
        return console.export_text()


def test_submitting_twice_gives_a_cell_to_one_job(run: Run) -> None:
    make(run, 0)
    assert [job.tasks for job in submit(run, "local", Resources(), 2)] == [((1,), (2,), (3,), (4,), (5,))]  # here, no bundles
    assert submit(run, "local", Resources(), 2) == []


def test_held_and_impossible_jobs_are_told_from_those_that_wait() -> None:
    for reason in ("PartitionTimeLimit", "job requeued in held state", "JobHeldUser", "QOSMaxCpuPerJobLimit", "BadConstraints"):
        assert slurm.NEVER.search(reason)
    for reason in (
        "Priority",
        "Resources",
        "QOSMaxJobsPerUserLimit",
        "AssocGrpCpuLimit",
        "BeginTime",
        "ReqNodeNotAvail, May be reserved",
    ):
        assert not slurm.NEVER.search(reason)


def test_what_slurm_knows_of_a_task_that_is_gone_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given(run)
    log = run.path / "slurm" / "7_0_0_log.err"
    log.parent.mkdir()
    log.write_text("module: command not found")
    in_queue(monkeypatch, 0, state="CANCELLED")
    failure = status(run).failures[0]
    assert failure["why"] == "lost" and "CANCELLED" in failure["tail"] and "module: command not found" in failure["tail"]
    queued = {"7_0": Queued("FAILED", ended=time.time() - 5)}
    monkeypatch.setattr(slurm, "queue", lambda jobs: queued)
    assert states(run)[0] == "running its files are not seen yet"


def test_a_submission_cut_short_says_what_to_do(run: Run) -> None:
    given(run, job_id=None)
    assert states(run) == ["pending its submission was cut short: vddbench batch submit"] * CELLS


def test_cells_that_never_start_are_not_retried_for_ever(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    in_queue(monkeypatch)
    for _ in range(2):
        given(run)
        assert list(retryable(status(run), None)) == list(range(CELLS))
    given(run)
    assert list(retryable(status(run), None)) == [] and list(retryable(status(run), {"lost"})) == list(range(CELLS))


def test_speed_is_that_of_the_last_cells(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = given(run)
    in_queue(monkeypatch)
    for cell in range(CELLS):
        make(run, cell)
        happened(run, job, cell, "done")
    assert status(run).cells_per_hour == pytest.approx(CELLS, rel=0.01)  # each took an hour, all at once; however long ago


def test_a_retry_asks_for_what_the_job_asked_for_and_twice_the_memory_where_it_ran_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "submit", lambda run, job: str(job.number))
    monkeypatch.setattr(slurm, "max_array", lambda: 100)
    in_queue(monkeypatch)
    (job,) = submit(run, "slurm", Resources(mem=8, cpus=2, setup=("from a file",)), 1)
    happened(run, job, 0, "oom")
    happened(run, job, 1, "bad")
    happened(run, job, 2, "interrupted")
    with pytest.raises(ValueError, match="mem"):
        retry(run, "slurm", {"mem": 32_000}, 1, None, False)
    new = retry(run, "slurm", {}, 1, None, False)
    assert not any(each.resources.setup for each in new)  # what is run before comes from the site's settings alone
    assert {(each.tasks, each.resources.mem, each.resources.cpus) for each in new} == {
        (((0,),), 16, 2),
        (((2,), (3,), (4,), (5,)), 8, 2),
    }
    happened(run, new[0], 0, "oom")
    happened(run, new[1], 0, "disk")
    with pytest.raises(LookupError, match="these did: bad"):
        retry(run, "slurm", {}, 1, "crash", False)
    assert sum(len(each.tasks) for each in retry(run, "slurm", {"time": 5}, 1, None, True)) == CELLS
