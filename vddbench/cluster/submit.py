"""Gives cells to jobs: pending ones (`submit`) or failed ones (`retry`); cancels jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from vddbench.cluster import slurm
from vddbench.cluster.access import check_private
from vddbench.cluster.jobs import Cluster, Job, add_job, is_alive, job_file, new_job, read_jobs
from vddbench.cluster.local import Holding
from vddbench.cluster.plan import Cell, Run
from vddbench.cluster.resources import Resources, overridden, resources, validated
from vddbench.cluster.status import Status, status
from vddbench.cluster.worker import is_made
from vddbench.submissions.manifest import MANIFEST
from vddbench.system.progress import say

BUNDLE_SECONDS = 600.0  # expected duration of a task, long enough to outweigh the cost of scheduling it
NO_START = 3  # after this many jobs in which a cell was lost before its start, another try cannot help
RETRIED = {"lost", "interrupted", "gave_up", "no_set", "disk", "node", "oom", "crash"}  # failures that another try can help


@dataclass(frozen=True)
class Where:
    """Where and how cells are submitted."""

    cluster: Cluster
    bundle: int | None = None  # cells per task; None: as many as should take BUNDLE_SECONDS; on this machine always one
    holding: Holding = field(default_factory=Holding)  # locks of the jobs on this machine


def submit(run: Run, asked: Resources, where: Where) -> list[Job]:
    """Gives new jobs all cells that are neither done nor in a job yet. Raises ValueError with Slurm's reason."""
    with run.locked():
        in_jobs = {index for job in read_jobs(run) for task in job.tasks for index in task}
        cells = [cell for cell in run.cells if cell.index not in in_jobs and not is_made(run, cell)]
        return _submit(run, cells, asked, where)


def retry(
    run: Run, where: Where, changes: Mapping[str, object] | None = None, kind: str | None = None, failed: bool = False
) -> list[Job]:
    """Gives failed cells to new jobs: cells of failure class `kind`, all failed cells, or those that another try can help.

    A new job asks for the resources of the cell's last job, for twice the memory if that ran out, and for `changes`; its setup
    lines come from the site's settings. Raises ValueError if Slurm does not answer, LookupError for an unknown class.
    """
    with run.locked():
        now = status(run)
        if now.scheduler:
            raise ValueError(f"{now.scheduler}; a cell that still runs must not be submitted again: try later")
        if kind is not None and kind not in now.failed:
            present = ", ".join(sorted(now.failed)) or "none"
            raise LookupError(f"--class {kind[:40]!r}: no cell failed in this way; these classes exist: {present}")
        last = {index: job.resources for job in read_jobs(run) for task in job.tasks for index in task}
        fixed = {"setup": resources().setup, **(changes or {})}
        groups: dict[Resources, list[Cell]] = defaultdict(list)
        distilled: dict[str, Resources] = {}  # of the distillations that are repeated, by the folder of the set
        for index in retryable(now, {kind} if kind is not None else set(now.failed) if failed else None):
            cell, doubled = run.cells[index], now.cells[index].why == "oom" and where.cluster == "slurm"
            if is_made(run, cell):
                continue
            before = last[index].with_twice_the_memory() if doubled else last[index]
            needed = validated(overridden(before.model_dump(), fixed))
            if cell.kind == "distill":
                distilled[cell.set_folder] = needed
            elif cell.needs_a_cell and not (run.path / cell.set_folder / MANIFEST).exists():
                if cell.set_folder not in distilled:
                    continue  # another try cannot help until its set is distilled
                needed = distilled[cell.set_folder]  # in the same task
            groups[needed].append(cell)
        jobs = [job for asked, cells in groups.items() for job in _submit(run, cells, asked, where)]
        say(f"{sum(map(len, groups.values())):,} cells submitted again of {sum(now.failed.values()):,} that failed")
        return jobs


def retryable(now: Status, classes: set[str] | None) -> Iterator[int]:
    """Numbers of failed cells of these classes; None: of those that another try can help."""
    for index, cell in enumerate(now.cells):
        hopeless = classes is None and not cell.attempts and cell.jobs >= NO_START
        if cell.state == "failed" and cell.why in (RETRIED if classes is None else classes) and not hopeless:
            yield index


def cancel(run: Run) -> None:
    """Cancels all of the run's jobs that Slurm has. Ctrl-C stops cells on this machine, in the terminal that runs them."""
    with run.locked():
        jobs = read_jobs(run)
        tasks = slurm.queue([job for job in jobs if job.cluster == "slurm"]).values()
        alive = [task for task in tasks if not task.is_over]
        slurm.cancel(sorted({str(task.number) for task in alive}))
        say(f"cancelled {len(alive):,} tasks of Slurm{'; vddbench batch retry resumes them' if alive else ''}")
        if any(job.cluster == "local" and is_alive(run, job) for job in jobs):
            say("cells run on this machine: press Ctrl-C in the terminal that runs them", style="yellow")


def _submit(run: Run, cells: Sequence[Cell], asked: Resources, where: Where) -> list[Job]:
    """Creates and submits jobs for these cells. The caller has locked the run. Raises ValueError if others can write to it."""
    check_private(run.path)
    tasks = bundles(cells, 1 if where.cluster == "local" else where.bundle)
    most = slurm.max_array() if where.cluster == "slurm" else len(tasks) or 1
    chunks = [tasks[i : i + most] for i in range(0, len(tasks), most)]
    jobs = []
    for share, chunk in zip(shares(asked.max_parallel, len(chunks)), chunks, strict=True):
        job = new_job(run, where.cluster, chunk, asked.model_copy(update={"max_parallel": share}))
        if where.cluster == "local":
            where.holding.hold(run, job)  # before other commands see the job and believe that it is lost
        add_job(run, job)  # before it is submitted: other commands that find the file ask Slurm for the job's name
        if where.cluster == "slurm":
            _send(run, job)
        jobs.append(job)
    return jobs


def _send(run: Run, job: Job) -> None:
    try:
        job_id = slurm.submit(run, job)
    except slurm.Unanswered:
        raise  # Slurm may have accepted the job; a query by its name shows that
    except ValueError:
        job_file(run, job.number).unlink()  # refused: its cells have no job
        raise
    say(f"job {job_id}: {len(job.tasks)} tasks, {sum(map(len, job.tasks))} cells")


def bundles(cells: Sequence[Cell], size: int | None) -> list[list[int]]:
    """Numbers of cells, task by task; cells of different submissions or students never share a task.

    A distillation and the evaluations that need it are one task, in this order, whatever its size: a task runs its cells in
    turn, so no evaluation starts before its set exists, on any scheduler.
    """
    chains: dict[str, list[Cell]] = {cell.set_folder: [cell] for cell in cells if cell.kind == "distill"}
    for cell in cells:
        if cell.needs_a_cell and cell.set_folder in chains:
            chains[cell.set_folder].append(cell)
    chained = [chain for chain in chains.values() if len(chain) > 1]
    in_chains = {cell.index for chain in chained for cell in chain}
    others = [cell for cell in cells if cell.index not in in_chains]
    tasks: list[list[int]] = []
    for _, same in groupby(others, key=lambda cell: (cell.kind, cell.task, cell.method, cell.work)):
        tasks += _filled(list(same), size)
    return tasks + [[cell.index for cell in chain] for chain in chained]


def _filled(cells: Sequence[Cell], size: int | None) -> Iterable[list[int]]:
    is_full: Callable[[list[Cell]], bool] = (
        (lambda task: len(task) >= size)
        if size is not None
        else (lambda task: task[-1].seconds is None or sum(cell.seconds or 0 for cell in task) >= BUNDLE_SECONDS)
    )
    task: list[Cell] = []
    for cell in cells:
        task.append(cell)
        if is_full(task):
            yield [cell.index for cell in task]
            task = []
    if task:
        yield [cell.index for cell in task]


def shares(max_parallel: int | None, chunks: int) -> list[int | None]:
    """How many tasks each array may run at a time, so that together they run at most `max_parallel`. Raises ValueError."""
    if max_parallel is None:
        return [None] * chunks
    if chunks > max_parallel:
        raise ValueError(
            f"{chunks} arrays and --max-parallel {max_parallel}: each array runs at least one task; use a larger --bundle"
        )
    return [max_parallel // chunks + (i < max_parallel % chunks) for i in range(chunks)]
