"""`vddbench evaluate ... --cluster`: plan, submit, follow, collect and rank in one command; `batch` does each on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.live import Live

from leaderboard.tables import show as show_tables
from vddbench.batch import local
from vddbench.batch.collect import collect
from vddbench.batch.jobs import Cluster, Job
from vddbench.batch.plan import Run
from vddbench.batch.planning import evaluate_plan, show
from vddbench.batch.screen import screen
from vddbench.batch.site import resources
from vddbench.batch.status import Status, status
from vddbench.batch.submit import submit
from vddbench.progress import console, say

WATCH_SECONDS = 10.0


def evaluate(
    paths: Sequence[Path], students: Sequence[str], seeds: range, results: Path, cluster: Cluster, out: Path | None
) -> None:
    """Ctrl-C stops the following (with "local" the work, too); the run goes on and is found in its folder."""
    out = out or Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    run, new, recorded = evaluate_plan(paths, students, seeds, results, out)
    show(run, new, recorded)
    asked = resources()
    for job in submit(run, cluster, asked, None):
        if cluster == "local":
            work(run, job, asked.max_parallel, 1)
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


def work(run: Run, job: Job, max_parallel: int | None, per_gpu: int) -> None:
    """A job's cells on this machine, with the screen. Raises ValueError when every GPU is another run's."""
    with ExitStack() as taken:
        wanted = local.slots(local.visible_gpus(), per_gpu, max_parallel or 1)
        slots = local.free_slots(wanted, Path(run.plan.home), taken)
        if not slots:
            raise ValueError("every GPU is used by another run: wait for it, or ask for --per-gpu 2 there")
        say(f"{len(job.tasks)} tasks on {', '.join(slot.name for slot in slots)}")
        with Live(console=console, auto_refresh=False) as live:
            local.Pool(run, job, slots).work(every(WATCH_SECONDS, lambda: live.update(screen(status(run)), refresh=True)))
    found = status(run)
    say(f"{found.counts['done']:,} of {len(run.cells):,} cells done, {found.counts['failed']:,} failed")


def every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """Calls at most once in so many seconds."""
    last = float("-inf")

    def now_and_then() -> None:
        nonlocal last
        if time.monotonic() - last > seconds:
            last = time.monotonic()
            call()

    return now_and_then
