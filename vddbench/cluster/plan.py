"""The cells of a run and its folder. Planning or showing 10,000 cells takes seconds.

runs/NAME/plan.json            identity of the run
runs/NAME/cells.jsonl          one cell a line, numbered; lines are only added
runs/NAME/jobs/N.json          cells and resources of job N
runs/NAME/jobs/N/CELL.json     attempts of job N at a cell
runs/NAME/logs/CELL.log        output of a cell's processes
runs/NAME/slurm/N/             scripts, pickles and logs of job N, written by submitit
runs/NAME/results, submissions files that the cells make, with the usual layout
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from uuid import uuid4

from pydantic import Field, StringConstraints

from vddbench.records.files import cell_path
from vddbench.spec import Frozen, Name, Task, TaskText, folder_of
from vddbench.submissions.manifest import MANIFEST, read_manifest
from vddbench.system.files import parse_json, read_json, replacing
from vddbench.system.locks import locked
from vddbench.system.progress import say

MAX_CELLS = 100_000
MAX_LINE_BYTES = 20_000
RESULTS, SUBMISSIONS = "results", "submissions"  # folders of a run
LATE_SECONDS = 120.0  # a shared file system may show a new file with this delay

Short = Annotated[str, StringConstraints(max_length=4000)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Model = TypeVar("Model", bound=Frozen)


class Cell(Frozen):
    """One evaluation or one distillation."""

    index: Annotated[int, Field(ge=0, lt=MAX_CELLS)]
    kind: Literal["evaluate", "distill"]
    task: TaskText
    method: Short  # evaluate: name of the submission's folder, METHOD or METHOD-sN; distill: the baseline
    submission: Short = ""  # evaluate: absolute path of the submission's folder
    student: Name | None = None
    seed: Count
    preset: Name | None = None
    probes: bool | None = None  # evaluate: also test without motion; None: no
    makes: Short  # path below the run's folder; the cell is done when this file exists
    seconds: float | None = None  # expected duration

    @property
    def title(self) -> str:
        return " ".join(
            [str(self.task), self.method, self.student or f"distill {self.preset or ''}".strip(), f"seed {self.seed}"]
        )


class Plan(Frozen):
    """The content of `plan.json`."""

    format: Literal[2] = 2  # 1: runs with a journal of events
    run_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    home: Short  # VDDBENCH_HOME of all nodes, absolute


@dataclass(frozen=True)
class Run:
    """A run's folder."""

    path: Path
    plan: Plan

    @classmethod
    def open(cls, path: Path) -> Run:
        """Raises FileNotFoundError, ValueError."""
        if not (path / "plan.json").exists():
            raise FileNotFoundError(f"no run at {path}: vddbench batch plan SUBMISSION... --out {path}")
        return cls(path.resolve(), read_model(Plan, path / "plan.json", MAX_LINE_BYTES))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(_read_cells(self.path / "cells.jsonl"))

    def made(self, cell: Cell) -> Path:
        return self.path / cell.makes

    def log(self, cell: Cell) -> Path:
        return self.path / "logs" / f"{cell.index}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one command at a time change the run; the others wait."""
        with locked(self.path / ".lock", on_wait=lambda: say(f"another command is changing {self.path}: waiting for it")):
            yield


@dataclass(frozen=True)
class Planned:
    """The result of planning."""

    run: Run
    new: int  # cells that the run did not have
    recorded: int = 0  # cells left out because their record exists


def read_model(model: type[Model], path: Path | str, max_bytes: int) -> Model:
    """Reads a JSON file of a run. Raises OSError, ValueError naming the file."""
    try:
        return model.model_validate(read_json(Path(path), max_bytes))
    except ValueError as error:
        raise ValueError(f"{path} was not written by this version of vddbench: {str(error)[:300]}") from None


def _read_cells(file: Path) -> Iterator[Cell]:
    with file.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES), b"")):
            try:
                cell = Cell.model_validate(parse_json(line, MAX_LINE_BYTES))
            except ValueError as error:
                raise ValueError(f"{file}, line {number + 1} is not a cell: {str(error)[:300]}") from None
            if cell.index != number or cell.makes.startswith("/") or ".." in cell.makes.split("/"):
                where = f"{file}, line {number + 1}"
                raise ValueError(f"{where}: cell {cell.index} makes {cell.makes[:100]!r}: not written by vddbench")
            yield cell


def evaluations(paths: Sequence[Path], students: Sequence[str], seeds: Iterable[int], probes: bool = False) -> Iterator[Cell]:
    """Returns a cell for each submission, student and seed. Reads only the manifests. Raises ValueError."""
    seeds = list(seeds)
    for path in paths:
        folder = (path.parent if path.name == MANIFEST else path).resolve()
        manifest = read_manifest(folder)
        if (folder.parent.name, folder.name) != (str(manifest.task), manifest.folder):
            raise ValueError(f"{path}: its manifest says {manifest.task}/{manifest.folder}; vddbench check {path}")
        for student in students:
            first = cell_path(Path(RESULTS), manifest.cell, student, 0)
            for seed in seeds:
                yield Cell(
                    index=0,
                    kind="evaluate",
                    task=manifest.task,
                    method=manifest.folder,
                    submission=str(folder),
                    student=student,
                    seed=seed,
                    probes=probes or None,
                    makes=f"{first.parent.as_posix()}/seed{seed}.json",
                )


def distillations(methods: Sequence[str], task: Task, seeds: Iterable[int], preset: str | None) -> Iterator[Cell]:
    """Returns a cell for each baseline and seed."""
    for method in methods:
        name = method if preset is None else f"{method}_{preset}"
        for seed in seeds:
            makes = f"{SUBMISSIONS}/{task}/{folder_of(name, seed)}/{MANIFEST}"
            yield Cell(index=0, kind="distill", task=task, method=method, seed=seed, preset=preset, makes=makes)


def write_plan(path: Path, cells: Iterable[Cell], home: Path) -> Planned:
    """Creates the run's folder, or adds new cells to an existing run.

    Cells keep their numbers, so planning again only adds expected durations that have become known.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o755)  # with any umask: others must not write here, see slurm.py
    plan = Plan(run_id=uuid4().hex[:8], home=str(home.resolve()))
    run = Run(path.resolve(), plan)
    with run.locked():
        file, is_new = path / "cells.jsonl", not (path / "plan.json").exists()
        run = run if is_new else Run.open(path)
        if run.plan.home != plan.home:
            raise ValueError(f"{path} was planned with VDDBENCH_HOME={run.plan.home}, now it is {plan.home}")
        wanted = {cell.makes: cell for cell in cells}
        old = [_with_seconds(cell, wanted.pop(cell.makes, cell)) for cell in (_read_cells(file) if file.exists() else ())]
        if len(old) + len(wanted) > MAX_CELLS:
            raise ValueError(f"{len(old) + len(wanted):,} cells; a run has at most {MAX_CELLS:,}: plan several runs")
        new = [cell.model_copy(update={"index": i}) for i, cell in enumerate(wanted.values(), start=len(old))]
        with replacing(file) as target:
            target.writelines(cell.model_dump_json(exclude_none=True).encode() + b"\n" for cell in (*old, *new))
        if is_new:  # last: its presence means the folder is complete
            with replacing(path / "plan.json") as target:
                target.write(plan.model_dump_json(indent=1).encode() + b"\n")
    return Planned(run, len(new))


def _with_seconds(cell: Cell, again: Cell) -> Cell:
    return cell if again.seconds is None else cell.model_copy(update={"seconds": again.seconds})


def wait_for(path: Path, seconds: float = LATE_SECONDS) -> None:
    """Waits until `path` exists, because a shared file system may show it late. Raises FileNotFoundError."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            raise FileNotFoundError(f"{path} did not appear within {seconds:.0f} s: is this folder shared by all nodes?")
        with os.scandir(next(p for p in path.parents if p.is_dir())):  # makes NFS refresh the folder
            time.sleep(min(1.0, seconds))
