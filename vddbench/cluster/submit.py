"""Pending cells to jobs: bundled, chunked, written down before and after they are submitted: twice does nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from vddbench.cluster import events, jobs, slurm
from vddbench.cluster.jobs import Cluster, Job, Resources
from vddbench.cluster.local import Holding
from vddbench.cluster.plan import Cell, Run
from vddbench.cluster.worker import is_made
from vddbench.system.progress import say

BUNDLE_SECONDS = 600.0  # a task should be worth what scheduling it costs


def submit(run: Run, cluster: Cluster, resources: Resources, bundle: int | None, taken: Holding | None = None) -> list[Job]:
    """Gives every cell that is neither made nor given to a job yet to jobs. Raises ValueError with Slurm's reason.

    bundle: cells a task; None: as many as are expected to take BUNDLE_SECONDS (on this machine: one). taken: what keeps a
    job of this machine alive, until it is closed.
    """
    with run.locked():
        settle(run)
        given = {index for job in jobs.read_jobs(run) if not job.refused for task in job.tasks for index in task}
        cells = [cell for cell in run.cells if cell.index not in given and not is_made(run, cell)]
        return submit_cells(run, cells, cluster, resources, bundle, taken)


def submit_cells(
    run: Run,
    cells: Sequence[Cell],
    cluster: Cluster,
    resources: Resources,
    bundle: int | None,
    taken: Holding | None = None,
) -> list[Job]:
    """Jobs for these cells; the run is locked."""
    tasks = bundles(cells, 1 if cluster == "local" else bundle)
    most = slurm.max_array() if cluster == "slurm" else len(tasks) or 1
    chunks = [tasks[i : i + most] for i in range(0, len(tasks), most)]
    written = []
    for share, chunk in zip(shares(resources.max_parallel, len(chunks)), chunks, strict=True):
        asked = resources.model_copy(update={"max_parallel": share})
        job = jobs.next_job(run, cluster, chunk, asked, time.time())
        if cluster == "local" and taken is not None:
            taken.hold(run, job)  # before anybody can see it and take it for lost
        jobs.add_job(run, job)  # before it is submitted: whoever finds it without an id looks for its name
        if cluster == "slurm":
            job = _submitted(run, job)
        written.append(job)
    return written


def _submitted(run: Run, job: Job) -> Job:
    try:
        job = job.model_copy(update={"job_id": slurm.submit(run, job)})
    except slurm.Unanswered:
        raise  # it may have been accepted: settled when Slurm answers again
    except ValueError as error:
        jobs.change_job(run, job.model_copy(update={"refused": str(error)[:1000]}))
        raise
    jobs.change_job(run, job)
    say(f"job {job.job_id}: {len(job.tasks)} tasks, {sum(map(len, job.tasks))} cells")
    return job


def settle(run: Run) -> None:
    """Finds out about jobs whose submission was cut short: by name at Slurm, or by what they wrote."""
    for job in jobs.read_jobs(run):
        if job.cluster != "slurm" or job.job_id is not None or job.refused:
            continue
        found = slurm.adopted(run, job)
        if found is None and any(events.file_of(run, job.number, task).exists() for task in range(len(job.tasks))):
            found = "gone"  # it ran, and Slurm has forgotten it
        update = {"job_id": found} if found else {"refused": "interrupted while it was submitted"}
        jobs.change_job(run, job.model_copy(update=update))
        say(f"{job.name}: its submission was interrupted; {f'it is job {found}' if found else 'Slurm has no such job'}")


def bundles(cells: Sequence[Cell], size: int | None) -> list[list[int]]:
    """Numbers of cells, task by task; only cells of one submission and student share a task."""
    found: list[list[int]] = []
    for _, same in groupby(cells, key=lambda cell: (cell.kind, cell.task, cell.method, cell.student)):
        found += _filled(list(same), size)
    return found


def _filled(cells: Sequence[Cell], size: int | None) -> Iterable[list[int]]:
    full: Callable[[list[Cell]], bool] = (
        (lambda task: len(task) >= size)
        if size is not None
        else (lambda task: task[-1].seconds is None or sum(cell.seconds or 0 for cell in task) >= BUNDLE_SECONDS)
    )
    task: list[Cell] = []
    for cell in cells:
        task.append(cell)
        if full(task):
            yield [each.index for each in task]
            task = []
    if task:
        yield [each.index for each in task]


def shares(max_parallel: int | None, chunks: int) -> list[int | None]:
    """What each array may run at a time, so that all together run no more than `max_parallel`. Raises ValueError."""
    if max_parallel is None:
        return [None] * chunks
    if chunks > max_parallel:
        raise ValueError(
            f"{chunks} arrays and --max-parallel {max_parallel}: each runs one task at least; take a larger --bundle"
        )
    return [max_parallel // chunks + (i < max_parallel % chunks) for i in range(chunks)]
