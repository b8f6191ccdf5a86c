"""The cells of a run, and its folder. No torch: planning and looking at 10,000 cells takes seconds.

runs/NAME/plan.json       which run this is
runs/NAME/cells.jsonl     one cell a line, numbered; only ever added to
runs/NAME/jobs/N.json     which cells were given to which job
runs/NAME/events/N-T.jsonl   what happened in task T of job N
runs/NAME/logs/CELL.log   what a cell printed
runs/NAME/results, submissions   what the cells make, laid out as everywhere
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import Field, StringConstraints, ValidationError

from vddbench.records.files import cell_path
from vddbench.spec import Frozen, Name, Task, folder_of
from vddbench.submissions.manifest import MANIFEST, read_manifest
from vddbench.system.files import replacing

MAX_CELLS = 100_000
MAX_LINE_BYTES = 20_000
RESULTS, SUBMISSIONS = "results", "submissions"  # of a run's folder
LOCK_SECONDS = 10.0  # waited for another command that changes the run
LATE_SECONDS = 120.0  # a shared file system may show a file that much later

Short = Annotated[str, StringConstraints(max_length=4000)]
Count = Annotated[int, Field(ge=0, lt=2**31)]


class Cell(Frozen):
    """One evaluation or one distillation."""

    index: Annotated[int, Field(ge=0, lt=MAX_CELLS)]
    kind: Literal["evaluate", "distill"]
    task: Short
    method: Short  # evaluate: the submission's folder, METHOD or METHOD-sN; distill: the baseline
    submission: Short = ""  # evaluate: the folder, absolute
    student: Name | None = None
    seed: Count
    preset: Name | None = None
    makes: Short  # the file whose presence means done, below the run's folder
    seconds: float | None = None  # expected, see estimates.py

    @property
    def title(self) -> str:
        what = [self.task, self.method, self.student or (f"distill {self.preset or ''}".strip()), f"seed {self.seed}"]
        return " ".join(what)


class Plan(Frozen):
    """What `plan.json` says of a run."""

    format: Literal[1] = 1
    run_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    home: Short  # VDDBENCH_HOME, absolute: the nodes' is the same
    date: Short


@dataclass(frozen=True)
class Run:
    """A run's folder."""

    path: Path
    plan: Plan

    @classmethod
    def open(cls, path: Path) -> Run:
        """Raises FileNotFoundError, ValueError."""
        file = path / "plan.json"
        try:
            with file.open("rb") as found:
                return cls(path.resolve(), Plan.model_validate_json(found.read(MAX_LINE_BYTES)))
        except FileNotFoundError:
            raise FileNotFoundError(f"no run at {path}: vddbench batch plan SUBMISSION... --out {path}") from None
        except ValidationError as error:
            raise ValueError(f"{file} is not the plan of a run: {str(error)[:300]}") from None

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(_read_cells(self.path / "cells.jsonl"))

    def wait_for_cells(self, last: int) -> None:
        """Until cell number `last` can be seen: a shared file system may show an older list. Raises FileNotFoundError."""
        until = time.monotonic() + LATE_SECONDS
        while len(self.cells) <= last:
            if time.monotonic() > until:
                raise FileNotFoundError(f"{self.path}/cells.jsonl has no cell {last} after {LATE_SECONDS:.0f} s")
            time.sleep(1)
            del self.cells

    def made(self, cell: Cell) -> Path:
        return self.path / cell.makes

    def log(self, cell: Cell) -> Path:
        return self.path / "logs" / f"{cell.index}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time changes a run; it goes with its process. Raises ValueError naming who holds it."""
        import fcntl  # not on Windows, where plans can still be read

        with (self.path / ".lock").open("a+") as file:
            until = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        file.seek(0)
                        raise ValueError(f"{self.path} is being worked on by {file.read(200)}; try again") from None
                    time.sleep(0.2)
            file.seek(0)
            file.truncate()
            file.write(f"{getpass.getuser()} on {socket.gethostname()}, process {os.getpid()}")
            file.flush()
            yield


def _read_cells(file: Path) -> Iterator[Cell]:
    with file.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES), b"")):
            try:
                cell = Cell.model_validate_json(line)
            except ValidationError as error:
                raise ValueError(f"{file}, line {number + 1}, is no cell: {str(error)[:300]}") from None
            if cell.index != number or not _inside(cell.makes):
                raise ValueError(
                    f"{file}, line {number + 1}: cell {cell.index} makes {cell.makes[:100]!r}: not from this program"
                )
            yield cell


def _inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def evaluations(paths: Sequence[Path], students: Sequence[str], seeds: Iterable[int]) -> Iterator[Cell]:
    """A cell for each submission, student and seed; of a submission only the manifest is read. Raises ValueError."""
    seeds = list(seeds)
    for path in paths:
        folder = (path.parent if path.name == MANIFEST else path).resolve()
        manifest = read_manifest(folder)
        if (folder.parent.name, folder.name) != (str(manifest.task), manifest.folder):
            raise ValueError(f"{path}: its manifest says {manifest.task}/{manifest.folder}; vddbench check {path}")
        for student in students:
            place = cell_path(Path(RESULTS), manifest.cell, student, 0).parent.as_posix()
            for seed in seeds:
                yield Cell(
                    index=0,
                    kind="evaluate",
                    task=str(manifest.task),
                    method=manifest.folder,
                    submission=str(folder),
                    student=student,
                    seed=seed,
                    makes=f"{place}/seed{seed}.json",
                )


def distillations(methods: Sequence[str], task: Task, seeds: Iterable[int], preset: str | None) -> Iterator[Cell]:
    """A cell for each baseline and seed."""
    for method in methods:
        for seed in seeds:
            named = method if preset is None else f"{method}_{preset}"
            folder = folder_of(named, seed)
            makes = f"{SUBMISSIONS}/{task}/{folder}/{MANIFEST}"
            yield Cell(index=0, kind="distill", task=str(task), method=method, seed=seed, preset=preset, makes=makes)


def write_plan(path: Path, cells: Iterable[Cell], home: Path) -> tuple[Run, int]:
    """Makes the run's folder, or adds what is new to one that is there. Returns the run and how many cells are new.

    Cells that are there keep their numbers, so planning twice changes nothing.
    """
    path.mkdir(parents=True, exist_ok=True)
    plan = Plan(run_id=uuid4().hex[:8], home=str(home.resolve()), date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    run = Run(path.resolve(), plan)
    with run.locked():
        file = path / "cells.jsonl"
        if (path / "plan.json").exists():
            run = Run.open(path)
            if run.plan.home != plan.home:
                raise ValueError(f"{path} was planned with VDDBENCH_HOME={run.plan.home}, now it is {plan.home}")
        old = list(_read_cells(file)) if file.exists() else []
        wanted = {cell.makes: cell for cell in cells}
        old = [_with_seconds(cell, wanted.pop(cell.makes, cell)) for cell in old]
        new = list(wanted.values())
        if len(old) + len(new) > MAX_CELLS:
            raise ValueError(f"{len(old) + len(new):,} cells; a run has at most {MAX_CELLS:,}: plan several runs")
        numbered = [cell.model_copy(update={"index": i}) for i, cell in enumerate(new, start=len(old))]
        with replacing(file) as target:
            target.writelines(cell.model_dump_json(exclude_none=True).encode() + b"\n" for cell in (*old, *numbered))
        if not (path / "plan.json").exists():  # last: its presence means the folder is whole
            with replacing(path / "plan.json") as target:
                target.write(run.plan.model_dump_json(indent=1).encode() + b"\n")
    return Run.open(path), len(new)


def _with_seconds(cell: Cell, again: Cell) -> Cell:
    """What is known of how long it takes may have come later."""
    return cell if again.seconds is None else cell.model_copy(update={"seconds": again.seconds})


def wait_for(path: Path, seconds: float = LATE_SECONDS) -> None:
    """Until `path` can be seen: a shared file system may show it late. Raises FileNotFoundError."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            raise FileNotFoundError(f"{path} did not appear within {seconds:.0f} s: is this folder shared by all nodes?")
        with os.scandir(next(p for p in path.parents if p.is_dir())):  # makes NFS look again
            time.sleep(min(1.0, seconds))
