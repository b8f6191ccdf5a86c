"""Which cells were given to which job: `jobs/N.json`, written before the job is submitted, again when its id is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from vddbench.cluster.plan import Run, Short
from vddbench.spec import Frozen
from vddbench.system.files import replacing, write_new

Cluster = Literal["slurm", "local"]


Word = Annotated[str, StringConstraints(pattern=r"^[\w.,:|&*()\[\]@/+-]{1,200}$")]  # one word of an #SBATCH line, not more
MAX_MEM_GB = 10_000.0
MAX_JOB_BYTES = 50_000_000  # 100,000 cells are a megabyte


class Resources(Frozen):
    """What one task of a job asks for."""

    gpus: Annotated[int, Field(ge=0, le=16)] = 1  # GPUs a task; a cell uses one
    cpus: Annotated[int, Field(ge=1, le=1024)] = 4
    mem: Annotated[float, Field(gt=0, le=MAX_MEM_GB)] = 16.0  # GB = 2^30 bytes, as Slurm counts
    time: Annotated[int, Field(ge=1, le=60 * 24 * 60)] = 60  # minutes
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    max_parallel: Annotated[int, Field(ge=1, le=100_000)] | None = None  # tasks at a time
    setup: tuple[Short, ...] = ()  # shell lines before Python starts, e.g. "module load cuda"


class Job(Frozen):
    """An array of tasks; each task runs some cells, one after the other."""

    number: Annotated[int, Field(ge=1)]
    cluster: Cluster
    name: Short  # unique: by it a job is found whose id was not written down in time
    tasks: tuple[tuple[int, ...], ...]  # numbers of cells
    resources: Resources
    submitted: float  # seconds since 1970
    job_id: Short | None = None  # None: not known to be submitted
    refused: Short = ""  # why it was not submitted

    def task_id(self, task: int) -> str:
        """As Slurm and submitit name it: an array of one is no array."""
        return str(self.job_id) if len(self.tasks) == 1 else f"{self.job_id}_{task}"


def file_of(run: Run, number: int) -> Path:
    return run.path / "jobs" / f"{number}.json"


def add_job(run: Run, job: Job) -> None:
    """Its number is its own: a shared disk may show another's file late. Raises ValueError when it is taken."""
    try:
        write_new(file_of(run, job.number), lambda file: file.write(_bytes(job)))
    except FileExistsError:
        raise ValueError(f"another command has just submitted cells of {run.path}; try again") from None


def change_job(run: Run, job: Job) -> None:
    with replacing(file_of(run, job.number)) as file:
        file.write(_bytes(job))


def _bytes(job: Job) -> bytes:
    return job.model_dump_json(exclude_none=True).encode() + b"\n"


def read_job(run: Run, number: int) -> Job:
    file = file_of(run, number)
    if file.stat().st_size > MAX_JOB_BYTES:
        raise ValueError(f"{file} has {file.stat().st_size:,} bytes; at most {MAX_JOB_BYTES:,} are read")
    try:
        return Job.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{file} is not from this program: {str(error)[:300]}") from None


def read_jobs(run: Run) -> list[Job]:
    """All, in order."""
    return [read_job(run, number) for number in _numbers(run)]


def next_job(run: Run, cluster: Cluster, tasks: Sequence[Sequence[int]], resources: Resources, now: float) -> Job:
    number = max(_numbers(run), default=0) + 1
    return Job(
        number=number,
        cluster=cluster,
        name=f"vddbench-{run.plan.run_id}-{number}",
        tasks=tuple(tuple(task) for task in tasks),
        resources=resources,
        submitted=now,
    )


def _numbers(run: Run) -> Iterator[int]:
    folder = run.path / "jobs"
    if folder.is_dir():
        yield from sorted(int(file.stem) for file in folder.glob("*.json") if file.stem.isdecimal())
