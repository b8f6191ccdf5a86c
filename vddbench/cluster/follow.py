"""`vddbench evaluate ... --cluster`: plan, submit, follow, collect and rank in one command; `batch` does each on its own."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.live import Live

from vddbench.cluster import local
from vddbench.cluster.collect import collect
from vddbench.cluster.jobs import Cluster, Job
from vddbench.cluster.plan import Run
from vddbench.cluster.planning import evaluate_plan, show
from vddbench.cluster.retry import retry
from vddbench.cluster.screen import screen
from vddbench.cluster.site import resources
from vddbench.cluster.status import Status, status
from vddbench.cluster.submit import submit
from vddbench.leaderboard.tables import show as show_tables
from vddbench.system.progress import console, say

WATCH_SECONDS = 10.0


def evaluate(
    paths: Sequence[Path], students: Sequence[str], seeds: range, results: Path, cluster: Cluster, out: Path | None
) -> None:
    """Ctrl-C stops the following (with "local" the work, too); the same command follows on."""
    asked = json.dumps([sorted(str(path.resolve()) for path in paths), sorted(students), len(seeds)])
    out = out or Path("runs") / f"evaluate-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"  # the same command, the same run
    run, new, recorded = evaluate_plan(paths, students, seeds, results, out)
    show(run, new, recorded)
    settings = resources()

    def give(taken: local.Holding | None = None) -> list[Job]:
        found = submit(run, cluster, settings, None, taken)
        if {"lost", "interrupted"} & status(run).failed.keys():  # of an earlier call
            found += retry(run, cluster, {}, None, None, False, taken)
        return found

    if cluster == "local":
        work(run, settings.max_parallel, 1, give)
    else:
        give()
    say(f"following {run.path}; after Ctrl-C: vddbench batch status {out}, and vddbench batch collect {out} when it is done")
    failed = watch(run).counts["failed"]
    collect(run, results, out)
    for task in sorted({cell.task for cell in run.cells}):
        show_tables([results], task, None, "table")
    if failed:
        raise ValueError(f"{failed:,} cells failed: vddbench batch status {out}; vddbench batch retry {out}")


def watch(run: Run) -> Status:
    """The screen, until nothing runs or waits."""
    found = status(run)
    with Live(screen(found), console=console, auto_refresh=False) as live:
        while found.counts["running"] + found.counts["pending"]:
            time.sleep(WATCH_SECONDS)
            found = status(run)
            live.update(screen(found), refresh=True)
    return found


def work(run: Run, most: int | None, per_gpu: int, give: Callable[[local.Holding], list[Job]]) -> None:
    """The jobs that `give` makes, on this machine, with the screen. Raises ValueError when every GPU is another run's."""
    with local.Holding() as taken:
        slots = local.free_slots(local.slots(local.visible_gpus(), per_gpu, most), Path(run.plan.home), taken)
        if not slots:
            raise ValueError("every GPU is used by another run: wait for it")
        for job in give(taken):
            say(f"{len(job.tasks)} cells on {', '.join(slot.name for slot in slots)}")
            with Live(console=console, auto_refresh=False) as live:
                look = every(WATCH_SECONDS, partial(show_on, live, run))
                local.Pool(run, job, slots, taken.jobs[job.number]).work(look)
    found = status(run)
    say(f"{found.counts['done']:,} of {len(run.cells):,} cells done, {found.counts['failed']:,} failed")


def show_on(live: Live, run: Run) -> None:
    live.update(screen(status(run)), refresh=True)


def every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """Calls at most once in so many seconds."""
    last = float("-inf")

    def now_and_then() -> None:
        nonlocal last
        if time.monotonic() - last > seconds:
            last = time.monotonic()
            call()

    return now_and_then
