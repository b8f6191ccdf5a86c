"""Measures `batch plan` and `batch status` of a large run: `python -m tests.tools.many_cells [CELLS]`.

Half of the cells are done, a tenth failed, the others are in the queue of a stand-in `squeue`; each cell is a task of its own.
The commands run as users run them, with a warm page cache.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.builders.cells import attempt, give, make
from vddbench.cluster.jobs import Job
from vddbench.cluster.plan import Run
from vddbench.spec import Manifest, Task
from vddbench.submissions.manifest import MANIFEST

SUBMISSIONS, STUDENTS = 50, "convnet3d,convnet_gru"
ROUNDS = 3


def submissions(folder: Path) -> list[str]:
    """Folders with manifests, which are all that planning reads."""
    paths = []
    for i in range(SUBMISSIONS):
        path = folder / "tiny-ipc1" / f"method{i}"
        path.mkdir(parents=True)
        task = Task.parse("tiny-ipc1")
        manifest = Manifest(method=path.name, task=task, decoder="pixels", labels="hard", sha256=f"{i:064x}")
        (path / MANIFEST).write_text(manifest.model_dump_json())
        paths.append(str(path))
    return paths


def half_done(run: Run) -> Job:
    """Half of the cells are done, a tenth failed; one array holds them all."""
    job = give(run)
    for cell in range(len(run.cells)):
        if cell % 2 == 0:
            make(run, cell, 1000)
            attempt(run, job, cell, "done", num_bytes=1000)
        elif cell % 10 == 1:
            attempt(run, job, cell, "bug", tail="x" * 2000)
    return job


def stand_in(folder: Path, job: Job) -> None:
    """A `squeue` that answers at once."""
    folder.mkdir(exist_ok=True)
    rows = "\n".join(f"{job.name}|1_{i}|PENDING|N/A|Priority" for i in range(len(job.tasks)) if i % 2)
    (folder / "rows").write_text(rows + "\n")
    (folder / "squeue").write_text(f"#!/bin/sh\nexec cat {folder}/rows\n")
    (folder / "squeue").chmod(0o755)


def timed(command: list[str], env: dict[str, str]) -> tuple[float, int]:
    """(wall seconds, peak resident bytes) of a command. Raises CalledProcessError."""
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-c", "from vddbench.commands.main import main; main()", *command], env=env, stdout=-3, stderr=-3
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return time.monotonic() - started, usage.ru_maxrss * 1024


def main(cells: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "VDDBENCH_HOME": str(folder)}
        given = submissions(folder / "submissions")
        seeds = str(max(1, cells // (SUBMISSIONS * 2)))
        for i in range(ROUNDS):
            out = str(folder / f"run{i}")
            plan = timed(["batch", "plan", *given, "--students", STUDENTS, "--seeds", seeds, "--out", out], env)
            stand_in(folder / "bin", half_done(Run.open(Path(out))))
            look = timed(["batch", "status", out, "--json"], env)
            number = len(Run.open(Path(out)).cells)
            for what, (seconds, size) in (("plan", plan), ("status", look)):
                print(f"{number:,} cells: {what} {seconds:.2f} s, {size / 1e6:.0f} MB")
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
