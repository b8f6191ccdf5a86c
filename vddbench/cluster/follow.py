"""Runs work on this machine with a live status.

`vddbench evaluate --cluster` and `vddbench grid`: plan, submit, follow, collect and print tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.live import Live

from vddbench.cluster.cells import evaluations
from vddbench.cluster.collect import collect
from vddbench.cluster.grid import reason_of, refused
from vddbench.cluster.jobs import Cluster, Job
from vddbench.cluster.local import Holding, Pool, slots, visible_gpus
from vddbench.cluster.plan import SUBMISSIONS, Run
from vddbench.cluster.planning import evaluate_plan
from vddbench.cluster.resources import resources
from vddbench.cluster.screen import screen, show_plan, watch
from vddbench.cluster.status import status
from vddbench.cluster.submit import Where, retry, submit
from vddbench.leaderboard.tables import show as show_tables
from vddbench.protocol import PROTOCOL, Protocol, Sdd
from vddbench.system.progress import console, say

REASONS_SHOWN = 8  # of failed cells


def evaluate(
    paths: Sequence[Path],
    students: Sequence[str],
    seeds: range,
    results: Path,
    cluster: Cluster,
    out: Path | None,
    probes: bool = False,
    protocol: Protocol | Sdd = PROTOCOL,
) -> None:
    """Plans, submits, follows and collects. Ctrl-C stops following and, with "local", the work; the same command resumes."""
    options = [*(["probes"] if probes else []), *([] if protocol == PROTOCOL else [protocol.model_dump_json()])]
    cells = evaluations(paths, students, seeds, probes, protocol)  # they name the bytes: a set packed again is another run
    out = out or run_folder("evaluate", [sorted(f"{cell.submission} {cell.makes}" for cell in cells), *options])
    planned = evaluate_plan(paths, students, seeds, results, out, probes=probes, protocol=protocol)
    show_plan(planned)
    failed = finish(planned.run, {}, cluster, results, out / SUBMISSIONS)
    for task in sorted({cell.task for cell in planned.run.cells}):
        show_tables([results], str(task), None, "table")
    if failed:
        raise ValueError(what_failed(failed, out, cluster))


def run_folder(command: str, request: object) -> Path:
    """The folder of the run of a command: the same request, the same run."""
    return Path("runs") / f"{command}-{hashlib.sha256(json.dumps(request).encode()).hexdigest()[:8]}"


def what_failed(failed: int, out: Path, cluster: Cluster) -> str:
    """How many cells of the run in `out` failed, and the commands that list and repeat them."""
    retry_them = f"vddbench batch retry {out} --failed{'' if cluster == 'slurm' else ' --cluster local'}"
    return (
        f"{failed:,} cells failed (vddbench batch status {out}): fix the causes, then run {retry_them}, then this command again"
    )


def finish(run: Run, asked: Mapping[str, Any], cluster: Cluster, results: Path, submissions: Path) -> int:
    """Submits what is not done, follows the run until nothing runs or waits, and collects.

    asked: resources that override the site's settings, also for cells that an earlier call submitted. Prints which sets are
    left out because their methods cannot serve the task, and why other cells failed or were not collected. Returns the number
    of these other cells.
    """
    settings = resources(asked)

    def give(where: Where) -> list[Job]:
        jobs = submit(run, settings, where)
        if {"lost", "interrupted", "no_set"} & status(run).failed.keys():  # in an earlier call
            jobs += retry(run, where, asked)
        return jobs

    work(run, cluster, give, most=settings.max_parallel)
    if cluster == "slurm":  # on this machine everything is over by now
        say(
            f"following {run.path}; after Ctrl-C: vddbench batch status {run.path}, and vddbench batch collect {run.path} when "
            "it is done"
        )
    now = watch(run)
    collected = collect(run, results, submissions)
    without = refused(run, now.failures)
    for line in without.values():
        say(line, style="yellow")
    failures = [row for row in now.failures if run.cells[row["cell"]].set_folder not in without]
    reasons = {row["cell"]: reason_of(row) for row in failures if row["why"] != "no_set"} | collected.damaged | collected.other
    for cell, reason in list(reasons.items())[:REASONS_SHOWN]:
        say(f"error: {run.cells[cell].title}: {reason or f'vddbench batch logs {run.path} {cell}'}", style="red")
    return len({row["cell"] for row in failures} | collected.damaged.keys() | collected.other.keys())


def work(
    run: Run,
    cluster: Cluster,
    give: Callable[[Where], list[Job]],
    bundle: int | None = None,
    most: int | None = None,
    per_gpu: int = 1,
) -> None:
    """Lets `give` submit jobs. With "local", runs them here until they are over. Raises ValueError if no GPU is free."""
    if cluster == "slurm":
        give(Where(cluster, bundle))
        return
    with Holding() as holding:
        free = holding.free_slots(slots(visible_gpus(), per_gpu, most), Path(run.plan.home))
        if not free:
            raise ValueError("every GPU is used by another run: try again when it has ended")
        for job in give(Where(cluster, bundle, holding)):
            say(f"{sum(map(len, job.tasks)):,} cells on {', '.join(slot.name for slot in free)}")
            with Live(console=console(), auto_refresh=False) as live:
                Pool(run, job, free, holding.jobs[job.number]).work(lambda: live.update(screen(status(run)), refresh=True))
    counts = status(run).counts
    say(f"{counts['done']:,} of {len(run.cells):,} cells done, {counts['failed']:,} failed")
