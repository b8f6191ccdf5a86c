"""The status follows from files and Slurm's queue; a queue that does not answer makes nothing fail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.builders.cells import attempt, give, make, planned
from vddbench.cluster import slurm
from vddbench.cluster.jobs import Job, read_jobs
from vddbench.cluster.local import Holding
from vddbench.cluster.plan import Run
from vddbench.cluster.resources import Resources
from vddbench.cluster.screen import screen
from vddbench.cluster.slurm import Queued, Unanswered
from vddbench.cluster.status import status
from vddbench.cluster.submit import Where, cancel, retry, retryable, submit
from vddbench.commands.batch import batch

CELLS = 6
SLURM = Where("slurm", 1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Six cells. Any file in the place of a record counts as one."""
    for module in ("status", "submit"):
        monkeypatch.setattr(f"vddbench.cluster.{module}.is_made", lambda run, cell: run.made(cell).exists())
    in_queue(monkeypatch)
    return planned(tmp_path, seeds=CELLS)


def in_queue(monkeypatch: pytest.MonkeyPatch, *tasks: int, state: str = "RUNNING", **more: Any) -> list[int]:
    """Lets Slurm know these tasks of every job. Returns the list that each question adds to."""
    questions: list[int] = []

    def queue(jobs: list[Job]) -> dict[tuple[str, int], Queued]:
        questions.append(1)
        return {(job.name, task): Queued(state, job_id=f"7_{task}", **more) for job in jobs for task in tasks}

    monkeypatch.setattr(slurm, "queue", queue)
    return questions


def states(run: Run) -> list[str]:
    return [f"{cell.state} {cell.why}".strip() for cell in status(run).cells]


def drawn(run: Run) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115 - drawn for its text
    with console.file:
        console.print(screen(status(run)))
        return console.export_text()


def test_cells_are_planned_until_a_job_has_them(run: Run) -> None:
    assert status(run).counts == {"done": 0, "running": 0, "pending": 0, "failed": 0, "planned": CELLS}


def test_every_cell_has_a_state(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = give(run)
    questions = in_queue(monkeypatch, 0, 1, 3)
    attempt(run, job, 0, "done")  # still in the queue, but its file counts
    make(run, 0)
    attempt(run, job, 1, None)
    attempt(run, job, 2, "oom", "oom", "oom", tail="killed")
    attempt(run, job, 3, "interrupted")
    attempt(run, job, 4, None)  # not in the queue: its node died and Slurm gave it up
    assert states(run) == ["done", "running", "failed oom", "pending", "failed lost", "failed lost"]
    assert len(questions) == 1
    now = status(run)
    assert now.failed == {"oom": 1, "lost": 2}
    assert (now.failures[0]["tail"], now.failures[0]["attempts"]) == ("killed", 3)
    assert 5.0 <= now.hours_spent < 5.1  # 1 done, 3 out of memory, 1 interrupted, and the one that runs
    assert list(retryable(now, None)) == [2, 4, 5] and list(retryable(now, {"oom"})) == [2]


def test_reasons_that_do_not_pass_by_waiting_are_marked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    give(run)
    in_queue(monkeypatch, *range(CELLS), state="PENDING", reason="PartitionTimeLimit")
    now = status(run)
    assert now.waiting == now.never == {"PartitionTimeLimit": CELLS}
    assert "waiting does not help: change the request" in drawn(run)
    in_queue(monkeypatch, *range(CELLS), state="PENDING", reason="Priority")
    assert status(run).never == {}
    for reason in ("job requeued in held state", "JobHeldUser", "QOSMaxCpuPerJobLimit", "BadConstraints"):
        assert slurm.NEVER.search(reason)
    for reason in ("Resources", "QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit", "BeginTime", "ReqNodeNotAvail, May be reserved"):
        assert not slurm.NEVER.search(reason)


def test_a_queue_that_does_not_answer_is_reported_and_nothing_counts_as_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unanswered(jobs: Any) -> dict[tuple[str, int], Queued]:
        raise Unanswered("connection refused")

    job = give(run)
    monkeypatch.setattr(slurm, "queue", unanswered)
    attempt(run, job, 0, None)
    make(run, 1)
    assert states(run) == ["running", "done", *["pending"] * 4]
    assert "Slurm does not answer" in drawn(run)
    with pytest.raises(ValueError, match="must not be submitted again"):
        retry(run, SLURM)


def test_late_files_are_waited_for_and_a_file_cut_short_is_not_done(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = give(run)
    attempt(run, job, 0, "done", num_bytes=10)
    attempt(run, job, 1, "done", num_bytes=10)
    make(run, 1, size=4)
    assert states(run)[:2] == ["running its files are not seen yet"] * 2
    monkeypatch.setattr("vddbench.cluster.status.LATE_SECONDS", -1.0)
    assert states(run)[:2] == ["failed lost"] * 2


def test_cells_of_a_killed_pool_are_lost(run: Run) -> None:
    job = give(run, "local")
    attempt(run, job, 0, None)
    with Holding() as holding:
        holding.hold(run, job)
        assert states(run)[:2] == ["running", "pending"]
    assert states(run)[:2] == ["failed lost", "failed lost"]


def test_json_and_screen_show_the_same_numbers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = give(run)
    in_queue(monkeypatch, *range(3, CELLS), state="PENDING", reason="Resources")
    for cell in range(3):
        make(run, cell)
        attempt(run, job, cell, "done")
    shown = json.loads(json.dumps(status(run).to_json()))
    assert shown["counts"]["done"] == 3 and shown["waiting"] == {"Resources": 3} and "cells" not in shown
    assert shown["eta_seconds"] == pytest.approx(3 / shown["cells_per_hour"] * 3600)
    assert "3 done" in drawn(run) and "3 pending: Resources" in drawn(run)


def test_logs_on_the_screen_cannot_command_a_terminal(run: Run) -> None:
    attempt(run, give(run), 0, "bug", tail="\x1b]0;title\x07 [bold]x[/bold]")
    assert "\x1b]" not in drawn(run) and "[bold]x[/bold]" in drawn(run)


def test_the_screen_names_commands_that_work(run: Run) -> None:
    job = give(run)
    for cell in range(CELLS):
        attempt(run, job, cell, "bug")
    assert f"vddbench batch logs {run.path} CELL" in drawn(run) and f"vddbench batch retry {run.path}" in drawn(run)


def test_cancelling_says_what_it_cannot_cancel(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    job = give(run, "local")
    with Holding() as holding:
        holding.hold(run, job)
        cancel(run)
    assert "cancelled 0 tasks of Slurm\ncells run on this machine: press Ctrl-C" in capfd.readouterr().err
    cancel(run)
    assert capfd.readouterr().err == "cancelled 0 tasks of Slurm\n"


def test_submitting_twice_gives_a_cell_to_one_job(run: Run) -> None:
    make(run, 0)
    with Holding() as holding:
        where = Where("local", 2, holding)
        assert [job.tasks for job in submit(run, Resources(), where)] == [((1,), (2,), (3,), (4,), (5,))]  # here, no bundles
        assert submit(run, Resources(), where) == []


def test_cells_of_a_refused_job_stay_planned(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(run: Run, job: Job) -> str:
        raise ValueError("Slurm refused it: no such partition")

    monkeypatch.setattr(slurm, "submit", refused)
    monkeypatch.setattr(slurm, "max_array", lambda: 100)
    with pytest.raises(ValueError, match="no such partition"):
        submit(run, Resources(), SLURM)
    assert states(run) == ["planned"] * CELLS and read_jobs(run) == []


def test_a_lost_task_shows_what_slurm_and_its_log_say(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = give(run)
    log = run.path / "slurm" / str(job.number) / "7_0_0_log.err"
    log.parent.mkdir(parents=True)
    log.write_text("module: command not found")
    in_queue(monkeypatch, 0, state="CANCELLED")
    failure = status(run).failures[0]
    assert failure["why"] == "lost" and "CANCELLED" in failure["tail"] and "module: command not found" in failure["tail"]
    in_queue(monkeypatch, 0, state="FAILED", ended=time.time() - 5)
    assert states(run)[0] == "running its files are not seen yet"


def test_a_job_that_slurm_does_not_list_is_lost_after_a_while(run: Run) -> None:
    give(run, age=5.0)
    assert states(run) == ["pending Slurm does not list its job yet"] * CELLS
    give(run, age=1000.0)
    assert states(run) == ["failed lost"] * CELLS


def test_cells_that_never_start_are_not_retried_forever(run: Run) -> None:
    for _ in range(2):
        give(run)
        assert list(retryable(status(run), None)) == list(range(CELLS))
    give(run)
    assert list(retryable(status(run), None)) == [] and list(retryable(status(run), {"lost"})) == list(range(CELLS))


def test_the_speed_is_that_of_the_last_cells(run: Run) -> None:
    job = give(run)
    for cell in range(CELLS):
        make(run, cell)
        attempt(run, job, cell, "done")
    assert status(run).cells_per_hour == pytest.approx(CELLS, rel=0.01)  # each took an hour, all at once; however long ago


def test_a_retry_asks_for_the_resources_of_the_last_job_and_twice_the_memory_that_ran_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "submit", lambda run, job: str(job.number))
    monkeypatch.setattr(slurm, "max_array", lambda: 100)
    monkeypatch.setattr("vddbench.cluster.status.LATE_SECONDS", -1.0)
    (job,) = submit(run, Resources(mem=8, cpus=2, setup=("from a file",)), SLURM)
    attempt(run, job, 0, "oom")
    attempt(run, job, 1, "bad")
    attempt(run, job, 2, "interrupted")
    with pytest.raises(ValueError, match="mem"):
        retry(run, SLURM, {"mem": 32_000})
    new = retry(run, SLURM)
    assert not any(job.resources.setup for job in new)  # setup lines come from the site's settings alone
    assert {(job.tasks, job.resources.mem, job.resources.cpus) for job in new} == {
        (((0,),), 16, 2),
        (((2,), (3,), (4,), (5,)), 8, 2),
    }
    attempt(run, new[0], 0, "oom")
    attempt(run, new[1], 2, "disk")
    with pytest.raises(LookupError, match="these classes exist: bad"):
        retry(run, SLURM, kind="crash")
    assert (
        CliRunner()
        .invoke(batch, ["retry", str(run.path), "--failed", "--bundle=1", "--time=5", "--setup=a", "--setup=b"])
        .exit_code
        == 0
    )
    assert sum(len(job.tasks) for job in read_jobs(run)[3:]) == CELLS
    assert {(job.resources.time, job.resources.setup, job.resources.gpus) for job in read_jobs(run)[3:]} == {(5, ("a", "b"), 1)}
