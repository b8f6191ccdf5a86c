"""The cells of one task, one after the other: each in a process of its own, again when that helps.

| outcome | how it is known | then |
|---|---|---|
| done | exit 0 and the file is there | next cell |
| interrupted | we were told to stop, the student is saved | goes on when the task starts again |
| oom | memory ran out, or SIGKILL, which the kernel sends then | a student again with half the micro-batch, twice |
| crash | another signal: SIGSEGV, SIGBUS, SIGABRT | again, once |
| disk, node | the disk is full or away, the GPU can't be used | left to `retry` |
| bad, bug | a submission that is refused; a traceback | never again by itself: the log's end is shown |
| gave_up | started GIVE_UP times and never ended | left to `retry` |

A student that collapses (NaN) is a result. A failing cell does not stop the next one, and is not tried again when Slurm runs
the task once more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep

from vddbench.cluster import events
from vddbench.cluster.child import BAD, DISK, INTERRUPTED, NODE, OUT_OF_MEMORY, STOP_SECONDS
from vddbench.cluster.events import Event, Outcome
from vddbench.cluster.jobs import Job, read_jobs
from vddbench.cluster.plan import Cell, Run

AGAIN = {"oom": 2, "crash": 1}  # at once, in the same task
FINAL = {"bad", "bug", "disk", "node", "gave_up"}
GIVE_UP = 30  # preemptions, dead nodes and time limits are no fault of a cell's, but not for ever
TAIL_CHARS = 2000
FOR_PEOPLE = {"oom", "crash", "disk", "node", "bad", "bug"}  # outcomes whose log's end is kept
POLL_SECONDS = 0.1


class Stop:
    """Set once the task should end; a process that runs is then told to save."""

    def __init__(self) -> None:
        self.asked = False


class Worker:
    """Runs the cells of one task."""

    def __init__(
        self,
        run: Run,
        job: Job,
        task: int,
        stop: Stop,
        environment: Mapping[str, str],
        needs_gpu: bool = False,
        locks: Sequence[int] = (),
    ) -> None:
        """locks: file descriptors that the cells' processes hold, too: what they lock stays locked while they live."""
        self.run, self.job, self.task, self.stop = run, job, task, stop
        self.environment, self.needs_gpu, self.locks = environment, needs_gpu, locks
        self.file = events.file_of(run, job.number, task)

    def work(self) -> list[Outcome]:
        """Outcomes of the task's cells; fewer when it was told to stop. Cells that a later job has are left to it."""
        outcomes: list[Outcome] = []
        for index in self.job.tasks[self.task]:
            if self.stop.asked:
                break
            if index in self._retried():
                outcomes.append("done")
                continue
            outcomes.append(self.cell(self.run.cells[index]))
        return outcomes

    def _retried(self) -> set[int]:
        later = (job for job in read_jobs(self.run) if job.number > self.job.number and not job.refused)
        return {index for job in later for task in job.tasks for index in task}

    def cell(self, cell: Cell) -> Outcome:
        """One cell, until it is done or nothing more helps."""
        before = [event for event in events.read(self.file) if event.cell == cell.index]
        started = sum(event.outcome is None for event in before)
        ended = sum(event.outcome not in {None, "interrupted"} for event in before)
        last = before[-1].outcome if before else None
        if last == "done" and is_made(self.run, cell):
            return "done"
        if last is not None and self.is_final(cell, last, before):
            return last
        if started - ended >= GIVE_UP:
            self.append(cell, started, outcome="gave_up")
            return "gave_up"
        while True:
            started += 1
            before.append(self.attempt(cell, started, sum(event.outcome == "oom" for event in before)))
            outcome = before[-1].outcome
            assert outcome is not None
            if outcome in {"done", "interrupted"} or self.stop.asked or self.is_final(cell, outcome, before):
                return outcome

    def is_final(self, cell: Cell, outcome: Outcome, events: Sequence[Event]) -> bool:
        """Does another try in this task not help?"""
        nothing_to_halve = outcome == "oom" and cell.kind == "distill"
        tries = 0 if nothing_to_halve else AGAIN.get(outcome, 0)
        return outcome in FINAL or (outcome in AGAIN and sum(event.outcome == outcome for event in events) > tries)

    def attempt(self, cell: Cell, number: int, halvings: int) -> Event:
        """How it ended."""
        self.append(cell, number)
        began = monotonic()
        log = self.run.log(cell)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command(self.run, cell, halvings, self.needs_gpu),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                pass_fds=self.locks,
            )
            code = self._wait(child)
        outcome = told(code, self.stop.asked)
        if outcome == "done" and not is_made(self.run, cell):
            outcome = "bug"
        seconds = monotonic() - began
        size = self.run.made(cell).stat().st_size if outcome == "done" else None
        tail = end_of(log) if outcome in FOR_PEOPLE else ""
        return self.append(cell, number, outcome=outcome, seconds=seconds, code=code, num_bytes=size, tail=tail)

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        """The exit code. Told to stop, the child's standard input is closed: it saves and ends."""
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
        here = str(Path(__file__).parents[2])  # also where vddbench is not installed but checked out
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        return {**os.environ, "PYTHONPATH": path, "VDDBENCH_HOME": self.run.plan.home, **self.environment}

    def append(self, cell: Cell, attempt: int, **fields: object) -> Event:
        return events.append(self.file, cell=cell.index, attempt=attempt, **fields)


def command(run: Run, cell: Cell, halvings: int, needs_gpu: bool) -> list[str]:
    given = [str(run.path), str(cell.index), str(halvings), str(int(needs_gpu))]
    return [sys.executable, "-m", "vddbench.cluster.child", *given]


def told(code: int, stopped: bool) -> Outcome:
    """What an exit code means."""
    if code == 0:
        return "done"
    if code == INTERRUPTED or (stopped and code < 0):
        return "interrupted"
    by_code: dict[int, Outcome] = {OUT_OF_MEMORY: "oom", -9: "oom", BAD: "bad", DISK: "disk", NODE: "node"}
    return by_code.get(code) or ("crash" if code < 0 else "bug")


def is_made(run: Run, cell: Cell) -> bool:
    """Whole, as far as can be seen without torch: a record agrees with its predictions, a manifest can be read."""
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
