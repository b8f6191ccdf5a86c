"""Runs, jobs and attempts; processes that stand in for those of cells."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from vddbench.cluster import worker
from vddbench.cluster.cells import evaluations
from vddbench.cluster.jobs import Attempts, Cluster, Job, Outcome, add_job, new_job, write_attempts
from vddbench.cluster.plan import Cell, Run, write_plan
from vddbench.cluster.resources import Resources


def planned(folder: Path, methods: tuple[str, ...] = ("mine",), seeds: int = 2, submission: Path | None = None) -> Run:
    """A run in `folder`/run, of one given submission or of made-up ones; `folder` is its VDDBENCH_HOME, too."""
    from tests.builders.submissions import written  # here, as tools/many_cells.py must not measure torch

    paths = [submission] if submission else [written(folder / "submissions", method=method) for method in methods]
    return write_plan(folder / "run", evaluations(paths, ["convnet3d"], range(seeds)), folder).run


def give(run: Run, cluster: Cluster = "slurm", age: float = 1000.0, cells: list[int] | None = None) -> Job:
    """Adds a job with a task for each cell, submitted `age` seconds ago."""
    tasks = [[index] for index in (range(len(run.cells)) if cells is None else cells)]
    job = new_job(run, cluster, tasks, Resources())
    job = job.model_copy(update={"submitted": job.submitted - age})
    add_job(run, job)
    return job


def attempt(run: Run, job: Job, cell: int, *outcomes: Outcome | None, num_bytes: int | None = None, tail: str = "") -> Attempts:
    """Writes attempts of a job at a cell, of an hour each; None: one that has only started."""
    attempts = Attempts()
    for outcome in outcomes:
        attempts = attempts.start() if outcome is None else attempts.start().end(outcome, 3600.0, num_bytes, tail)
    write_attempts(run, job.number, cell, attempts)
    return attempts


def make(run: Run, cell: int, size: int = 10) -> None:
    """Creates the file that a cell makes; it is no record."""
    made = run.made(run.cells[cell])
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text("x" * size)


class StandIn:
    """Replaces a cell's process by Python code, which sees `cell` (its number), `halvings` and `made` (the file to make)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
        self.body = textwrap.dedent(body)
        monkeypatch.setattr(worker, "command", self.command)
        monkeypatch.setattr(worker, "is_made", lambda run, cell: run.made(cell).exists())

    def command(self, run: Run, cell: Cell, halvings: int, needs_gpu: bool) -> list[str]:
        made = run.made(cell)
        made.parent.mkdir(parents=True, exist_ok=True)
        values = f"cell, halvings, made = {cell.index}, {halvings}, Path({str(made)!r})"
        head = f"import os, sys, time\nfrom pathlib import Path\n{values}\n"
        return [sys.executable, "-S", "-c", head + self.body]
