"""The state of a run's cells, from the files that they make, the attempts of their jobs and one query to Slurm."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from vddbench.cluster import slurm
from vddbench.cluster.jobs import Attempts, Job, is_alive, read_attempts, read_jobs
from vddbench.cluster.plan import LATE_SECONDS, Cell, Run
from vddbench.cluster.slurm import Queued
from vddbench.cluster.worker import end_of, is_made

STATES = ("done", "running", "pending", "failed", "planned")
SLOWEST = 5  # cells shown
RECENT = 100  # cells done last, from which the speed is computed


@dataclass(frozen=True)
class CellStatus:
    """The state of one cell."""

    state: str  # one of STATES
    why: str = ""  # failed: the class of failure; pending: Slurm's reason
    tail: str = ""  # end of the log of a failure
    job_id: str = ""
    seconds: float = 0.0  # spent so far, in all attempts
    attempts: int = 0
    jobs: int = 0  # number of jobs that have had the cell


@dataclass(frozen=True)
class Status:
    """The state of a run. Hours are of one GPU, or of one slot if there is none."""

    run: str
    counts: dict[str, int]
    failed: dict[str, int]  # by class
    waiting: dict[str, int]  # pending cells by Slurm's reason
    never: dict[str, int]  # pending cells whose reason does not pass by waiting
    cells_per_hour: float | None
    eta_seconds: float | None
    hours_spent: float
    hours_planned: float | None  # None: no cell of some kind has an expected duration
    slowest: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    scheduler: str  # "", or why Slurm's view is missing
    cells: list[CellStatus] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "cells"}


class Try(NamedTuple):
    """A cell in a job."""

    job: Job
    task: int
    attempts: Attempts | None  # None: the job has not started the cell


def status(run: Run) -> Status:
    """Asks Slurm once if the run has jobs there."""
    now, jobs = time.time(), read_jobs(run)
    queued, scheduler = _queue(run, jobs)
    tries: dict[int, list[Try]] = defaultdict(list)
    for job in jobs:
        attempts = read_attempts(run, job.number)  # after asking Slurm: tasks that ended before have written their outcome
        for number, task in enumerate(job.tasks):
            for index in task:
                tries[index].append(Try(job, number, attempts.get(index)))
    cells = [_cell_status(run, cell, tries[cell.index], queued, now) for cell in run.cells]
    ends = [t.attempts for cell in run.cells for t in tries[cell.index] if t.attempts and t.attempts.outcome == "done"]
    return _summary(run, cells, ends, now, scheduler)


def _queue(run: Run, jobs: Sequence[Job]) -> tuple[dict[tuple[str, int], Queued], str]:
    """Tasks that wait or run, by job and number, and why Slurm did not answer, if so: all its tasks then count as running."""
    on_slurm = [job for job in jobs if job.cluster == "slurm"]
    here = {
        (job.name, task): Queued("RUNNING", job_id=job.name)
        for job in jobs
        if job.cluster == "local" and is_alive(run, job)
        for task in range(len(job.tasks))
    }
    try:
        return here | slurm.queue(on_slurm), ""
    except ValueError as error:
        unknown = {(job.name, task): Queued("RUNNING") for job in on_slurm for task in range(len(job.tasks))}
        return here | unknown, f"Slurm does not answer ({error}): the states are those in files alone"


def _cell_status(run: Run, cell: Cell, tries: list[Try], queued: dict[tuple[str, int], Queued], now: float) -> CellStatus:
    attempts = [t.attempts for t in tries if t.attempts is not None]
    if _is_whole(run, cell, attempts):
        state = CellStatus("done")
    elif not tries:
        state = CellStatus("planned")
    else:
        state = _in_job(run, tries[-1], queued.get((tries[-1].job.name, tries[-1].task)), now)
    seconds = sum(a.seconds for a in attempts)
    if state.state == "running" and attempts and attempts[-1].outcome is None:
        seconds += max(0.0, now - attempts[-1].time)
    return replace(state, seconds=seconds, attempts=sum(a.started for a in attempts), jobs=len(tries))


def _in_job(run: Run, last: Try, task: Queued | None, now: float) -> CellStatus:
    """The state of a cell whose file does not exist, from its last job and Slurm's state of the task."""
    job_id = (task.job_id if task is not None else "") or last.job.name
    outcome = last.attempts.outcome if last.attempts is not None else None
    if last.attempts is not None and outcome not in {None, "interrupted", "done"}:
        return CellStatus("failed", str(outcome), last.attempts.tail, job_id)
    if task is not None and not task.is_over:
        if task.is_running and last.attempts is not None and outcome is None:
            return CellStatus("running", job_id=job_id)
        return CellStatus("pending", "" if task.is_running else task.reason or task.state, job_id=job_id)
    if task is None and last.attempts is None and last.job.cluster == "slurm" and now - last.job.submitted < LATE_SECONDS:
        return CellStatus("pending", "Slurm does not list its job yet", job_id=job_id)
    if _may_be_late(last.attempts, task, now):
        return CellStatus("running", "its files are not seen yet", job_id=job_id)
    return CellStatus("failed", "interrupted" if outcome == "interrupted" else "lost", _last_words(run, last, task), job_id)


def _is_whole(run: Run, cell: Cell, attempts: list[Attempts]) -> bool:
    """Whether the cell's file exists and has the size that its task checked. Reads the file if no task of this run made it."""
    try:
        size = os.stat(f"{run.path}/{run.makes(cell)}").st_size  # noqa: PTH116 - for thousands, twice as fast as Path
    except FileNotFoundError:
        return False
    sizes = [a.num_bytes for a in attempts if a.num_bytes is not None]
    return size in sizes if sizes else is_made(run, cell)


def _may_be_late(attempts: Attempts | None, task: Queued | None, now: float) -> bool:
    """Whether the last files of a task may still be missing: a shared file system can show them up to LATE_SECONDS later."""
    if attempts is not None and attempts.outcome == "done":
        return now - attempts.time < LATE_SECONDS
    return task is not None and task.state in {"COMPLETED", "FAILED"} and now - task.ended < LATE_SECONDS


def _last_words(run: Run, last: Try, task: Queued | None) -> str:
    """Slurm's state of a lost task and, if the cell never started, the end of what the task printed."""
    words = f"Slurm says {task.state}" if task is not None else ""
    if last.attempts is None and (log := slurm.log_of(run, last.job, last.task)) is not None:
        words += "\n" + end_of(log)
    return words


def _summary(run: Run, cells: list[CellStatus], ends: list[Attempts], now: float, scheduler: str) -> Status:
    counts = dict.fromkeys(STATES, 0) | Counter(cell.state for cell in cells)
    waiting = Counter(cell.why for cell in cells if cell.state == "pending" and cell.why)
    left = counts["running"] + counts["pending"]
    rate = _per_hour(ends, now if left else None)
    rows = [_row(cell, state) for cell, state in zip(run.cells, cells, strict=True)]
    return Status(
        run=str(run.path),
        counts=counts,
        failed=dict(Counter(cell.why for cell in cells if cell.state == "failed")),
        waiting=dict(waiting),
        never={reason: number for reason, number in waiting.items() if slurm.NEVER.search(reason)},
        cells_per_hour=rate,
        eta_seconds=left / rate * 3600 if rate and left else (0.0 if not left else None),
        hours_spent=sum(cell.seconds for cell in cells) / 3600,
        hours_planned=_hours_planned(run.cells),
        slowest=sorted((row for row in rows if row["seconds"]), key=lambda row: -row["seconds"])[:SLOWEST],
        failures=[row for row, cell in zip(rows, cells, strict=True) if cell.state == "failed"],
        scheduler=scheduler,
        cells=cells,
    )


def _hours_planned(cells: Sequence[Cell]) -> float | None:
    """Cells without an expected duration count as the mean of their kind. None if a kind has no expected duration."""
    total = 0.0
    for kind in {cell.kind for cell in cells}:
        of_kind = [cell.seconds for cell in cells if cell.kind == kind]
        known = [seconds for seconds in of_kind if seconds is not None]
        if not known:
            return None
        total += sum(known) / len(known) * len(of_kind)
    return total / 3600


def _per_hour(ends: list[Attempts], now: float | None) -> float | None:
    """Cells done per hour, from the RECENT last ones. now: None if nothing runs any more."""
    recent = sorted(ends, key=lambda end: end.time)[-RECENT:]
    if not recent:
        return None
    since = min(end.time - end.seconds for end in recent)
    return len(recent) / max((now or recent[-1].time) - since, 1.0) * 3600


def _row(cell: Cell, state: CellStatus) -> dict[str, Any]:
    row = {"cell": cell.index, "title": cell.title, "why": state.why, "seconds": round(state.seconds, 1), "job": state.job_id}
    return {**row, "attempts": state.attempts, "tail": state.tail}
