"""Where the cells of a run stand: from the files they make, the events of their tasks and one look at the queue."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vddbench.batch import events, jobs, local, slurm
from vddbench.batch.events import Event
from vddbench.batch.jobs import Job
from vddbench.batch.plan import LATE_SECONDS, Cell, Run
from vddbench.batch.worker import is_made

STATES = ("done", "running", "pending", "failed", "planned")
RATE_SECONDS = 3600.0  # cells an hour are those of the last hour
SLOWEST = 5
FREE = {"lost", "interrupted", "cancelled", "gave_up", "disk", "oom", "crash"}  # what `retry` takes up by itself


@dataclass
class At:
    """Where one cell stands."""

    state: str  # of STATES
    why: str = ""  # failed: the outcome; pending: Slurm's reason
    seconds: float = 0.0  # spent on it so far, all attempts
    attempts: int = 0
    ooms: int = 0  # tasks that memory ran out in
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
    told = _told(run)
    on_slurm = [job for job in written if job.cluster == "slurm" and not job.refused]
    queued = slurm.queue(on_slurm) if on_slurm else {}
    given = {index: (job, t) for job in written if not job.refused for t, task in enumerate(job.tasks) for index in task}
    alive = {job.number for job in written if job.cluster == "local" and local.is_alive(run, job)}
    made = _made(run)
    at = []
    for cell in run.cells:
        place = given.get(cell.index)
        happened = told.get(cell.index, [])
        if cell.makes in made and _whole(run, cell, happened, made[cell.makes]):
            at.append(_counted(At("done"), happened, now))
        elif place is None:
            at.append(At("planned"))
        else:
            at.append(_where(place[0], place[1], happened, queued, alive, now))
    return _summary(run, at, told, now, "" if queued is not None else "Slurm does not answer: this is what files say")


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
    job_id = job.task_id(task) if job.cluster == "slurm" else f"local-{job.number}"
    in_queue = queued.get(job_id) if queued is not None else None
    active = job.number in alive if job.cluster == "local" else (in_queue is not None or queued is None)
    waits = in_queue is not None and in_queue.state == "PENDING"
    found = At("pending", job_id=job_id)
    if last is not None and last.outcome not in {None, "interrupted", "done"}:
        found = At("failed", str(last.outcome), job_id=job_id, tail=last.tail)
    elif active and last is not None and last.outcome is None and not waits:
        found = At("running", job_id=job_id)
    elif active:
        found.why = in_queue.reason if in_queue is not None and waits else ""
    elif last is not None and last.outcome == "done":
        late = now - last.time < LATE_SECONDS
        found = At("running", "its file is not seen yet", job_id=job_id) if late else At("failed", "lost", job_id=job_id)
    elif job.job_id is not None or job.cluster == "local":
        found = At("failed", "interrupted" if last is not None and last.outcome else "lost", job_id=job_id)
    return _counted(found, happened, now)


def _counted(at: At, happened: list[tuple[int, int, Event]], now: float) -> At:
    ends = [event for _, _, event in happened if event.outcome is not None]
    at.attempts = sum(event.outcome is None for _, _, event in happened)
    at.seconds = sum(event.seconds for event in ends)
    at.ooms = len({number for number, _, event in happened if event.outcome == "oom"})
    if at.state == "running" and happened and happened[-1][2].outcome is None:
        at.seconds += max(0.0, now - happened[-1][2].time)
    return at


def _summary(run: Run, at: list[At], told: dict[int, list[tuple[int, int, Event]]], now: float, scheduler: str) -> Status:
    counts = {state: 0 for state in STATES} | Counter(each.state for each in at)
    ends = [event for happened in told.values() for _, _, event in happened if event.outcome == "done"]
    planned = [cell.seconds for cell in run.cells if cell.seconds is not None]
    waiting = Counter(each.why for each in at if each.state == "pending" and each.why)
    rate = _per_hour(told, ends, now)
    left = counts["running"] + counts["pending"]
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


def _per_hour(told: dict[int, list[tuple[int, int, Event]]], ends: list[Event], now: float) -> float | None:
    """Cells done an hour, over the last hour or since the first one started."""
    starts = (happened[0][2].time for happened in told.values() if happened)
    since = max(min(starts, default=now), now - RATE_SECONDS)
    recent = sum(event.time >= since for event in ends)
    return recent / max(now - since, 1.0) * 3600 if recent else None


def _row(cell: Cell, at: At) -> dict[str, Any]:
    row = {"cell": cell.index, "title": cell.title, "why": at.why, "seconds": round(at.seconds, 1), "job": at.job_id}
    return {**row, "attempts": at.attempts, "tail": at.tail}


def retryable(status: Status, classes: set[str] | None) -> Iterator[int]:
    """Numbers of failed cells: of these classes, or of those that another try can help."""
    for index, at in enumerate(status.cells):
        if at.state == "failed" and at.why in (FREE if classes is None else classes):
            yield index
