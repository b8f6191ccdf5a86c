"""Runs the cells of one task in turn, each in its own process, and repeats those that another try can help.

| outcome | detected by | then |
|---|---|---|
| done | exit code 0 and the file exists | next cell |
| interrupted | the task was asked to stop; the student is saved | resumes when the task starts again |
| oom | memory ran out, or SIGKILL, which the kernel sends in that case | a student again, twice, with half the micro-batch |
| crash | another signal: SIGSEGV, SIGBUS, SIGABRT | repeated once |
| disk, node | the disk is full or missing, the GPU is unusable | left to `retry` |
| refused | the method cannot serve the task | not repeated; `grid` leaves its set out |
| bad, bug | damaged or wrong input; a traceback | not repeated automatically; the end of the log is shown |
| gave_up | was started GIVE_UP times and never ended | left to `retry` |
| no_set | the cell before it, which should have distilled its set, failed | not started; left to `retry` |

A student that collapses (NaN) is a valid result. A failed cell does not stop the next one, and stays failed when Slurm runs the
task again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from vddbench.cluster.child import BAD, DISK, INTERRUPTED, NODE, OUT_OF_MEMORY, REFUSED, STOP_SECONDS
from vddbench.cluster.jobs import Attempts, Outcome, read_attempts_at, read_jobs, write_attempts
from vddbench.cluster.plan import Cell, Run
from vddbench.lookup import PLUGINS, plugin_folders

AGAIN: dict[Outcome, int] = {"oom": 2, "crash": 1}  # immediate repetitions, in the same task
FINAL = {"refused", "bad", "bug", "disk", "node", "gave_up"}
GIVE_UP = 30  # preemptions, dead nodes and time limits are not the cell's fault, but tries must end
TAIL_CHARS = 2000
FOR_PEOPLE = {"oom", "crash", "disk", "node", "refused", "bad", "bug"}  # outcomes for which the end of the log is kept
POLL_SECONDS = 0.1


@dataclass
class Stop:
    """Asks a worker to end its task; a running cell saves its student first."""

    asked: bool = False


class Worker:
    """Runs cells of a job, one at a time."""

    def __init__(
        self,
        run: Run,
        job_number: int,
        stop: Stop,
        environment: Mapping[str, str],
        needs_gpu: bool = False,
        locks: Sequence[int] = (),
    ) -> None:
        """locks: file descriptors that the cells' processes inherit, so that the locks last as long as the processes."""
        self.run, self.job_number, self.stop = run, job_number, stop
        self.environment, self.needs_gpu, self.locks = environment, needs_gpu, locks

    def work(self, cells: Sequence[Cell]) -> list[Outcome]:
        """Returns the cells' outcomes, fewer if the task was asked to stop. Skips cells that a later job has."""
        outcomes: list[Outcome] = []
        not_made: set[str] = set()  # folders of the sets that cells of this task failed to distill
        for cell in cells:
            if self.stop.asked:
                break
            later = (job for job in read_jobs(self.run) if job.number > self.job_number)
            is_left = any(cell.index in task for job in later for task in job.tasks)
            outcome = "done" if is_left else self._without_set(cell) if cell.set_folder in not_made else self.work_on(cell)
            if cell.kind == "distill" and outcome != "done":
                not_made.add(cell.set_folder)
            outcomes.append(outcome)
        return outcomes

    def _without_set(self, cell: Cell) -> Outcome:
        attempts = read_attempts_at(self.run, self.job_number, cell.index) or Attempts()
        self._write(cell, attempts.end("no_set", tail=f"{cell.set_folder} was not distilled; see the cell that should make it"))
        return "no_set"

    def work_on(self, cell: Cell) -> Outcome:
        """Runs one cell until it is done or another try cannot help."""
        attempts = read_attempts_at(self.run, self.job_number, cell.index) or Attempts()
        if attempts.outcome is not None and is_final(cell, attempts):
            return attempts.outcome
        if attempts.outcome == "done" and is_made(self.run, cell):
            return "done"
        if attempts.started - sum(n for outcome, n in attempts.ended.items() if outcome != "interrupted") >= GIVE_UP:
            self._write(cell, attempts.end("gave_up"))
            return "gave_up"
        while True:
            attempts = self.attempt(cell, attempts)
            assert attempts.outcome is not None
            if attempts.outcome in {"done", "interrupted"} or self.stop.asked or is_final(cell, attempts):
                return attempts.outcome

    def attempt(self, cell: Cell, attempts: Attempts) -> Attempts:
        """Runs the cell's process once."""
        attempts = attempts.start()
        self._write(cell, attempts)
        began, log = monotonic(), self.run.log(cell)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab", buffering=0) as output:
            output.write(f"--- job {self.job_number}, attempt {attempts.started}, on {socket.gethostname()}\n".encode())
            child = subprocess.Popen(
                command(self.run, cell, attempts.ended.get("oom", 0), self.needs_gpu),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self.run.path,
                pass_fds=self.locks,
            )
            outcome = outcome_of(self._wait(child), self.stop.asked)
            if outcome == "done" and not is_made(self.run, cell):
                outcome = "bug"
            seconds, tail = monotonic() - began, end_of(log) if outcome in FOR_PEOPLE else ""
            output.write(f"--- {outcome} after {seconds:.0f} s\n".encode())
        size = self.run.made(cell).stat().st_size if outcome == "done" else None
        attempts = attempts.end(outcome, seconds, size, tail)
        self._write(cell, attempts)
        return attempts

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """Returns the exit code. On a stop, closes the child's standard input; the child then saves its student and ends."""
        assert child.stdin is not None
        until = None
        try:
            while (code := child.poll()) is None:
                if self.stop.asked and until is None:
                    child.stdin.close()
                    until = monotonic() + STOP_SECONDS + 5
                if until is not None and monotonic() > until:
                    child.kill()
                sleep(POLL_SECONDS)
        finally:
            child.stdin.close()
        return code

    def _environment(self) -> dict[str, str]:
        paths = {"PYTHONPATH": search_path(), PLUGINS: os.pathsep.join(map(str, plugin_folders()))}
        return {**os.environ, **paths, "VDDBENCH_HOME": self.run.plan.home, **self.environment}

    def _write(self, cell: Cell, attempts: Attempts) -> None:
        write_attempts(self.run, self.job_number, cell.index, attempts)


def command(run: Run, cell: Cell, halvings: int, needs_gpu: bool) -> list[str]:
    """The command of a cell's process."""
    arguments = [str(run.path), cell.model_dump_json(exclude_none=True), str(halvings), str(int(needs_gpu))]
    return [sys.executable, "-P", "-m", "vddbench.cluster.child", *arguments]


def search_path() -> str:
    """PYTHONPATH for the processes of a run, which start in other folders: this vddbench, then the user's own entries.

    With it, `python -P` finds a vddbench that is a clone and not installed. Empty entries are left out: they mean the current
    folder, which may hold a stranger's torch.py.
    """
    entries = [Path(folder).absolute() for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    return os.pathsep.join(map(str, [Path(__file__).parents[2], *entries]))


def is_final(cell: Cell, attempts: Attempts) -> bool:
    """Whether another try in this task cannot help."""
    outcome = attempts.outcome
    if outcome not in AGAIN:
        return outcome in FINAL
    # A distillation has no micro-batch to halve.
    repetitions = 0 if outcome == "oom" and cell.kind == "distill" else AGAIN[outcome]
    return attempts.ended.get(outcome, 0) > repetitions


def outcome_of(code: int, stopped: bool) -> Outcome:
    """The meaning of a process's exit code; negative: the signal that ended it."""
    if code == 0:
        return "done"
    if code == INTERRUPTED or (stopped and code < 0):
        return "interrupted"
    by_code: dict[int, Outcome] = {
        OUT_OF_MEMORY: "oom",
        -9: "oom",
        REFUSED: "refused",
        BAD: "bad",
        DISK: "disk",
        NODE: "node",
    }
    return by_code.get(code) or ("crash" if code < 0 else "bug")


def is_made(run: Run, cell: Cell) -> bool:
    """Whether the file that the cell makes exists and is valid: a record that agrees with its predictions, a manifest."""
    from vddbench.records.files import read_record
    from vddbench.submissions.manifest import read_manifest

    made = run.made(cell)
    if not made.exists():
        return False
    try:
        _ = read_record(made) if cell.kind == "evaluate" else read_manifest(made.parent)
    except ValueError:
        return False
    return True


def end_of(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_CHARS))
        return file.read().decode(errors="replace")
