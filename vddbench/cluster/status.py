"""Where the cells of a run stand: from the files they make, the events of their tasks and one look at the queue."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vddbench.cluster import events, jobs, local, slurm
from vddbench.cluster.events import Event
from vddbench.cluster.jobs import Job
from vddbench.cluster.plan import LATE_SECONDS, Cell, Run
from vddbench.cluster.worker import end_of, is_made

STATES = ("done", "running", "pending", "failed", "planned")
SLOWEST = 5
RECENT = 100  # cells done, by which speed is told
FREE = {"lost", "interrupted", "gave_up", "disk", "node", "oom", "crash"}  # what `retry` takes up by itself
NO_START = 3  # jobs in which a cell was lost before it started: something else is wrong


@dataclass
class At:
    """Where one cell stands."""

    state: str  # of STATES
    why: str = ""  # failed: the outcome; pending: Slurm's reason
    seconds: float = 0.0  # spent on it so far, all attempts
    attempts: int = 0
    jobs: int = 0  # that it was given to
    job_id: str = ""
    tail: str = ""


@dataclass
class Status:
    """Of a run. Hours are of one GPU, or of one slot where there is none."""

    run: str
    counts: dict[str, int]
    failed: dict[str, int]  # by class
    waiting: dict[str, int]  # pending cells by Slurm's reason
    never: dict[str, int]  # of these: reasons that no waiting changes
    cells_per_hour: float | None
    eta_seconds: float | None
    hours_spent: float
    hours_planned: float | None  # None: nothing is known of how long cells take
    slowest: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    scheduler: str  # "", or why what the queue says is unknown
    cells: list[At] = field(default_factory=list, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "cells"}


def status(run: Run) -> Status:
    """Asks Slurm once, when there are jobs on it."""
    now, written = time.time(), jobs.read_jobs(run)
    on_slurm = [job for job in written if job.cluster == "slurm" and not job.refused and job.job_id]
    try:
        queued, scheduler = slurm.queue(on_slurm), ""
    except ValueError as error:
        queued, scheduler = None, f"Slurm does not answer ({error}): this is what files say"
    told = _told(run)  # after the queue: a task that ended in between has told how
    given: dict[int, list[tuple[Job, int]]] = defaultdict(list)
    for job in written:
        for t, task in enumerate(() if job.refused else job.tasks):
            for index in task:
                given[index].append((job, t))
    alive = {job.number for job in written if job.cluster == "local" and local.is_alive(run, job)}
    made = _made(run)
    at = []
    for cell in run.cells:
        places, happened = given[cell.index], told.get(cell.index, [])
        if cell.makes in made and _whole(run, cell, happened, made[cell.makes]):
            found = At("done")
        elif not places:
            found = At("planned")
        else:
            found = _where(run, *places[-1], happened, queued, alive, now)
        at.append(_counted(found, happened, len(places), now))
    return _summary(run, at, told, now, scheduler)


def _told(run: Run) -> dict[int, list[tuple[int, int, Event]]]:
    """Events of each cell, oldest first: (job, task, event)."""
    found: dict[int, list[tuple[int, int, Event]]] = defaultdict(list)
    for number, task, event in events.read_all(run):
        found[event.cell].append((number, task, event))
    for happened in found.values():
        happened.sort(key=lambda each: (each[0], each[2].time))
    return found


def _made(run: Run) -> dict[str, int]:
    """Size of every file that cells make, by its path below the run; a folder is listed once, not asked for each file."""
    found = {}
    for folder in {Path(cell.makes).parent for cell in run.cells}:
        try:
            with os.scandir(run.path / folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".json"):
                        found[f"{folder.as_posix()}/{entry.name}"] = entry.stat().st_size
        except FileNotFoundError:
            continue
    return found


def _whole(run: Run, cell: Cell, happened: list[tuple[int, int, Event]], size: int) -> bool:
    """As long as when the task that made it had checked it; what no task of this run made is checked here."""
    sizes = [event.num_bytes for _, _, event in happened if event.outcome == "done" and event.num_bytes is not None]
    return size in sizes if sizes else is_made(run, cell)


def _where(
    run: Run,
    job: Job,
    task: int,
    happened: list[tuple[int, int, Event]],
    queued: dict[str, slurm.Queued] | None,
    alive: set[int],
    now: float,
) -> At:
    """Of a cell that a job has and that is not made."""
    mine = [event for number, t, event in happened if (number, t) == (job.number, task)]
    last = mine[-1] if mine else None
    if job.cluster == "slurm" and job.job_id is None:
        return At("pending", "its submission was cut short: vddbench batch submit")
    job_id = job.task_id(task) if job.cluster == "slurm" else f"local-{job.number}"
    in_queue = queued.get(job_id) if queued is not None else None
    if last is not None and last.outcome not in {None, "interrupted", "done"}:
        return At("failed", str(last.outcome), job_id=job_id, tail=last.tail)
    if job.cluster == "local":
        active, runs = job.number in alive, job.number in alive
    else:
        active = queued is None or (in_queue is not None and not in_queue.is_over)
        runs = queued is None or (in_queue is not None and in_queue.is_running)
    if active and runs and last is not None and last.outcome is None:
        return At("running", job_id=job_id)
    if active:
        return At("pending", "" if in_queue is None or runs else in_queue.reason or in_queue.state, job_id=job_id)
    if _may_be_late(last, in_queue, now):
        return At("running", "its files are not seen yet", job_id=job_id)
    why = "interrupted" if last is not None and last.outcome == "interrupted" else "lost"
    return At("failed", why, job_id=job_id, tail=_last_words(run, job_id, in_queue, last))


def _may_be_late(last: Event | None, in_queue: slurm.Queued | None, now: float) -> bool:
    """A shared file system shows what a task wrote at its end up to LATE_SECONDS later."""
    if last is not None and last.outcome == "done":
        return now - last.time < LATE_SECONDS
    ended = in_queue.ended if in_queue is not None and in_queue.state in {"COMPLETED", "FAILED"} else 0.0
    return now - ended < LATE_SECONDS


def _last_words(run: Run, job_id: str, in_queue: slurm.Queued | None, last: Event | None) -> str:
    """Of a task that is gone: Slurm's word for it and, when the cell never started, the end of what the task printed."""
    words = f"Slurm says {in_queue.state}" if in_queue is not None else ""
    log = run.path / "slurm" / f"{job_id}_0_log.err"
    if last is None and log.exists():
        words += "\n" + end_of(log)
    return words


def _counted(at: At, happened: list[tuple[int, int, Event]], given: int, now: float) -> At:
    at.attempts, at.jobs = sum(event.outcome is None for _, _, event in happened), given
    at.seconds = sum(event.seconds for _, _, event in happened if event.outcome is not None)
    if at.state == "running" and happened and happened[-1][2].outcome is None:
        at.seconds += max(0.0, now - happened[-1][2].time)
    return at


def _summary(run: Run, at: list[At], told: dict[int, list[tuple[int, int, Event]]], now: float, scheduler: str) -> Status:
    counts = {state: 0 for state in STATES} | Counter(each.state for each in at)
    ends = [event for happened in told.values() for _, _, event in happened if event.outcome == "done"]
    planned = [cell.seconds for cell in run.cells if cell.seconds is not None]
    waiting = Counter(each.why for each in at if each.state == "pending" and each.why)
    left = counts["running"] + counts["pending"]
    rate = _per_hour(ends, not left, now)
    done = [(each.seconds, cell) for each, cell in zip(at, run.cells, strict=True) if each.seconds]
    slowest = sorted(done, key=lambda pair: -pair[0])[:SLOWEST]
    return Status(
        run=str(run.path),
        counts=counts,
        failed=dict(Counter(each.why for each in at if each.state == "failed")),
        waiting=dict(waiting),
        never={reason: number for reason, number in waiting.items() if slurm.NEVER.search(reason)},
        cells_per_hour=rate,
        eta_seconds=left / rate * 3600 if rate and left else (0.0 if not left else None),
        hours_spent=sum(each.seconds for each in at) / 3600,
        hours_planned=sum(planned) / len(planned) * len(run.cells) / 3600 if planned else None,
        slowest=[_row(cell, at[cell.index]) for _, cell in slowest],
        failures=[_row(cell, at[cell.index]) for cell in run.cells if at[cell.index].state == "failed"],
        scheduler=scheduler,
        cells=at,
    )


def _per_hour(ends: list[Event], is_over: bool, now: float) -> float | None:
    """Cells done an hour, by the last RECENT ones."""
    recent = sorted(ends, key=lambda event: event.time)[-RECENT:]
    if not recent:
        return None
    since = min(event.time - event.seconds for event in recent)
    return len(recent) / max((recent[-1].time if is_over else now) - since, 1.0) * 3600


def _row(cell: Cell, at: At) -> dict[str, Any]:
    row = {"cell": cell.index, "title": cell.title, "why": at.why, "seconds": round(at.seconds, 1), "job": at.job_id}
    return {**row, "attempts": at.attempts, "tail": at.tail}


def retryable(status: Status, classes: set[str] | None) -> Iterator[int]:
    """Numbers of failed cells: of these classes, or of those that another try can help."""
    for index, at in enumerate(status.cells):
        hopeless = classes is None and not at.attempts and at.jobs >= NO_START
        if at.state == "failed" and at.why in (FREE if classes is None else classes) and not hopeless:
            yield index
