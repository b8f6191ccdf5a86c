"""Failed cells submitted again, and a run cancelled."""

from __future__ import annotations

from collections import defaultdict

from vddbench.cluster import jobs, slurm
from vddbench.cluster.jobs import Cluster, Job
from vddbench.cluster.local import Holding
from vddbench.cluster.plan import Run
from vddbench.cluster.site import resources as resources_of_site
from vddbench.cluster.site import validated
from vddbench.cluster.status import retryable, status
from vddbench.cluster.submit import settle, submit_cells
from vddbench.cluster.worker import is_made
from vddbench.system.progress import say


def retry(
    run: Run,
    cluster: Cluster,
    changes: dict[str, object],
    bundle: int | None,
    kind: str | None,
    failed: bool,
    taken: Holding | None = None,
) -> list[Job]:
    """Gives failed cells to new jobs: of class `kind`, or all with `failed`, or those that another try can help.

    They ask for what their last job asked for, but for `changes` and what the site's file says is to be run before; and for
    twice the memory when it ran out. taken: see `submit`. Raises
    ValueError when Slurm can't say what still runs, LookupError for an unknown class.
    """
    with run.locked():
        settle(run)
        found = status(run)
        if found.scheduler:
            raise ValueError(f"{found.scheduler}; a cell that still runs must not be submitted again: try later")
        classes = _classes(set(found.failed), kind, failed)
        last = {i: job for job in jobs.read_jobs(run) if not job.refused for task in job.tasks for i in task}
        groups: dict[str, list[int]] = defaultdict(list)
        asked = {}
        for index in retryable(found, classes):
            before = last[index].resources
            more = found.cells[index].why == "oom" and cluster == "slurm"
            mem = min(before.mem * (2 if more else 1), jobs.MAX_MEM_GB)
            resources = validated({**before.model_dump(), "setup": resources_of_site().setup, "mem": mem, **changes})
            key = resources.model_dump_json()
            groups[key].append(index)
            asked[key] = resources
        written = []
        for key, indices in groups.items():
            cells = [run.cells[i] for i in indices if not is_made(run, run.cells[i])]
            written += submit_cells(run, cells, cluster, asked[key], bundle, taken)
        say(f"{sum(map(len, groups.values())):,} cells submitted again of {sum(found.failed.values()):,} that failed")
        return written


def _classes(there: set[str], kind: str | None, failed: bool) -> set[str] | None:
    if kind is None:
        return there if failed else None
    if kind not in there:
        raise LookupError(f"--class {kind[:40]!r}: no cell failed so; these did: {', '.join(sorted(there)) or 'none'}")
    return {kind}


def cancel(run: Run) -> None:
    """Cancels what Slurm still has of the run; a pool on this machine is stopped with Ctrl-C where it runs."""
    with run.locked():
        settle(run)
        ids = [job.job_id for job in jobs.read_jobs(run) if job.cluster == "slurm" and job.job_id and not job.refused]
        queued = slurm.queue([job for job in jobs.read_jobs(run) if job.job_id in ids]) if ids else {}
        alive = {job_id for job_id, task in queued.items() if not task.is_over and job_id.partition("_")[0] in ids}
        slurm.cancel(sorted({job_id.partition("_")[0] for job_id in alive}))
        say(f"cancelled {len(alive):,} tasks; vddbench batch retry goes on with them")
