"""Jobs: which cells each job has, and its attempts at them.

`jobs/N.json` is written once, before job N is submitted under a unique name, and removed if Slurm refuses the job. Slurm is
asked for the job by this name, so a submission that is killed at any moment needs no repair.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from vddbench.cluster.plan import Count, Run, Short, read_model
from vddbench.cluster.resources import Resources
from vddbench.spec import Frozen
from vddbench.system.files import write_new, write_whole
from vddbench.system.locks import is_locked

Cluster = Literal["slurm", "local"]
Outcome = Literal["done", "interrupted", "oom", "crash", "disk", "node", "refused", "bad", "bug", "gave_up", "no_set"]
MAX_JOB_BYTES = 50_000_000  # 100,000 cells are a megabyte
MAX_ATTEMPTS_BYTES = 50_000


class Job(Frozen):
    """An array of tasks; each task runs some cells, one after the other."""

    number: Annotated[int, Field(ge=1)]
    cluster: Cluster
    name: Short  # unique: Slurm is asked for the job by it
    tasks: tuple[tuple[int, ...], ...]  # numbers of cells
    resources: Resources
    submitted: float  # seconds since 1970


class Attempts(Frozen):
    """The attempts of one job at one cell; `jobs/N/CELL.json` is replaced at each start and end."""

    started: Count = 0
    ended: Mapping[Outcome, Count] = {}  # number of attempts by outcome
    outcome: Outcome | None = None  # of the last attempt; None: the attempt is running, or its task died
    time: Annotated[float, Field(ge=0, lt=1e11)] = 0.0  # of the last start or end, seconds since 1970
    seconds: Annotated[float, Field(ge=0, lt=1e9)] = 0.0  # of all attempts that ended
    num_bytes: Count | None = None  # of the file that the cell made
    tail: Short = ""  # end of the log, for outcomes that a person has to read

    def start(self) -> Attempts:
        return self.model_copy(update={"started": self.started + 1, "outcome": None, "time": time.time(), "tail": ""})

    def end(self, outcome: Outcome, seconds: float = 0.0, num_bytes: int | None = None, tail: str = "") -> Attempts:
        ended = {**self.ended, outcome: self.ended.get(outcome, 0) + 1}
        update: dict[str, Any] = {"ended": ended, "outcome": outcome, "time": time.time(), "seconds": self.seconds + seconds}
        return self.model_copy(update={**update, "num_bytes": num_bytes, "tail": tail})


def job_file(run: Run, number: int) -> Path:
    return run.path / "jobs" / f"{number}.json"


def lock_file(run: Run, job: Job) -> Path:
    return run.path / "jobs" / f"{job.number}.lock"


def is_alive(run: Run, job: Job) -> bool:
    """Whether a pool on this machine, or a cell that outlives its pool, still works on a local job."""
    return is_locked(lock_file(run, job))


def new_job(run: Run, cluster: Cluster, tasks: Sequence[Sequence[int]], resources: Resources) -> Job:
    """A job with the next number. Writes nothing."""
    number = max(_numbers(run), default=0) + 1
    name = f"vddbench-{run.plan.run_id}-{number}"
    cells = tuple(tuple(task) for task in tasks)
    return Job(number=number, cluster=cluster, name=name, tasks=cells, resources=resources, submitted=time.time())


def add_job(run: Run, job: Job) -> None:
    """Raises ValueError if the number is taken, by a job whose file a shared disk showed late."""
    try:
        write_new(job_file(run, job.number), lambda file: file.write(_bytes(job)))
    except FileExistsError:
        raise ValueError(f"another command has just submitted cells of {run.path}; try again") from None


def read_jobs(run: Run) -> list[Job]:
    """All jobs of a run, in order."""
    jobs = []
    for number in _numbers(run):
        with suppress(FileNotFoundError):  # refused at this moment
            jobs.append(read_model(Job, job_file(run, number), MAX_JOB_BYTES))
    return jobs


def _numbers(run: Run) -> Iterator[int]:
    yield from sorted(int(file.stem) for file in (run.path / "jobs").glob("*.json") if file.stem.isdecimal())


def write_attempts(run: Run, number: int, cell: int, attempts: Attempts) -> None:
    write_whole(run.path / "jobs" / str(number) / f"{cell}.json", _bytes(attempts))


def read_attempts(run: Run, number: int) -> dict[int, Attempts]:
    """The attempts of job `number`, by cell. Leaves out damaged files: whether a cell is done does not depend on them."""
    try:
        with os.scandir(run.path / "jobs" / str(number)) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return {}
    cells = [int(cell) for cell, _, suffix in (name.partition(".") for name in names) if suffix == "json" and cell.isdecimal()]
    return {cell: attempts for cell in cells if (attempts := read_attempts_at(run, number, cell)) is not None}


def read_attempts_at(run: Run, number: int, cell: int) -> Attempts | None:
    try:
        with open(f"{run.path}/jobs/{number}/{cell}.json", "rb") as file:  # noqa: PTH123 - twice as fast, for thousands
            return Attempts.model_validate_json(file.read(MAX_ATTEMPTS_BYTES))
    except (FileNotFoundError, ValueError):
        return None


def _bytes(model: Frozen) -> bytes:
    return model.model_dump_json(exclude_defaults=True).encode() + b"\n"
