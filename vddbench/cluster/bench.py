"""How long planning and looking at a large run takes: `python -m vddbench.cluster.bench [CELLS]`.

Half of the cells are done, a tenth failed, the rest is in the queue of a stand-in `squeue`, each cell a task of its own: the
most files there can be. The commands run as users run them; page cache warm.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vddbench.cluster import events, jobs
from vddbench.cluster.jobs import Resources
from vddbench.cluster.plan import Run
from vddbench.spec import Manifest, Task
from vddbench.submissions.manifest import MANIFEST

SUBMISSIONS, STUDENTS = 50, "convnet3d,convnet_gru"
ROUNDS = 3


def submissions(folder: Path) -> list[str]:
    """Manifests are all that planning reads."""
    found = []
    for i in range(SUBMISSIONS):
        place = folder / "tiny-ipc1" / f"method{i}"
        place.mkdir(parents=True)
        task = Task.parse("tiny-ipc1")
        manifest = Manifest(method=place.name, task=task, decoder="pixels", labels="hard", sha256=f"{i:064x}")
        (place / MANIFEST).write_text(manifest.model_dump_json())
        found.append(str(place))
    return found


def happened(run: Run) -> None:
    """Half of the cells are done, a tenth failed; one array holds them all."""
    job = jobs.next_job(run, "slurm", [[cell.index] for cell in run.cells], Resources(), time.time())
    jobs.add_job(run, job.model_copy(update={"job_id": "1"}))
    for cell in run.cells:
        if cell.index % 2 and cell.index % 10 != 1:
            continue
        file = events.file_of(run, job.number, cell.index)
        events.append(file, cell=cell.index, attempt=1)
        if cell.index % 2:
            events.append(file, cell=cell.index, attempt=1, outcome="bug", seconds=60.0, tail="x" * 2000)
            continue
        made = run.made(cell)
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("x" * 1000)
        events.append(file, cell=cell.index, attempt=1, outcome="done", seconds=600.0, num_bytes=1000)


def stand_in(folder: Path, cells: int) -> None:
    """A `squeue` that answers at once."""
    folder.mkdir()
    rows = "\n".join(f"1_{i}|PENDING|Priority|0:00|" for i in range(cells) if i % 2)
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
        stand_in(folder / "bin", cells)
        env = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "VDDBENCH_HOME": str(folder)}
        given = submissions(folder / "submissions")
        seeds = str(max(1, cells // (SUBMISSIONS * 2)))
        for i in range(ROUNDS):
            out = str(folder / f"run{i}")
            plan = timed(["batch", "plan", *given, "--students", STUDENTS, "--seeds", seeds, "--out", out], env)
            happened(Run.open(Path(out)))
            look = timed(["batch", "status", out, "--format", "json"], env)
            number = len(Run.open(Path(out)).cells)
            for what, (seconds, size) in (("plan", plan), ("status", look)):
                print(f"{number:,} cells: {what} {seconds:.2f} s, {size / 1e6:.0f} MB")
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
