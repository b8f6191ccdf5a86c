"""The cells of a run and its folder. Planning or showing 10,000 cells takes seconds.

runs/NAME/plan.json            identity of the run
runs/NAME/cells.jsonl          one cell a line, numbered; lines are only added
runs/NAME/jobs/N.json          cells and resources of job N
runs/NAME/jobs/N/CELL.json     attempts of job N at a cell
runs/NAME/logs/CELL.log        output of a cell's processes
runs/NAME/slurm/N/             scripts, pickles and logs of job N, written by submitit
runs/NAME/results, submissions files that the cells make, with the usual layout
runs/NAME/table.tex            final tables of `vddbench grid`
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar
from uuid import uuid4

from pydantic import Field, StringConstraints

from vddbench.spec import Frozen, Name, TaskText
from vddbench.submissions.manifest import read_manifest
from vddbench.system.files import parse_json, read_json, replacing, write_whole
from vddbench.system.locks import locked
from vddbench.system.progress import say

MAX_CELLS = 100_000
MAX_LINE_BYTES = 20_000
RESULTS, SUBMISSIONS = "results", "submissions"  # folders of a run
UNKNOWN = "*"  # in `makes`, in place of the SHA8 of a set that the run will distill
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
    submission: Short = ""  # evaluate: the submission's folder, absolute, or below the run's folder if the run distills it
    student: Name | None = None
    seed: Count
    preset: Name | None = None
    probes: bool | None = None  # evaluate: also test without motion; None: no
    protocol: Name | None = None  # evaluate; None: the ranked one
    epochs: Annotated[int, Field(ge=1)] | None = None  # evaluate: of a protocol that counts them; None: its own number
    makes: Short  # path below the run's folder; the cell is done when this file exists; see `Run.makes`
    seconds: float | None = None  # expected duration

    @property
    def title(self) -> str:
        return " ".join([str(self.task), self.method, self.work, f"seed {self.seed}"])

    @property
    def work(self) -> str:
        """STUDENT, STUDENT-sdd or `distill PRESET`."""
        return PurePosixPath(self.makes).parent.name if self.kind == "evaluate" else f"distill {self.preset or ''}".strip()

    @property
    def set_folder(self) -> str:
        """The folder of the set that it makes or evaluates, below the run's folder if the run makes it."""
        return str(PurePosixPath(self.makes).parent) if self.kind == "distill" else self.submission

    @property
    def needs_a_cell(self) -> bool:
        """Whether it evaluates a set that another cell of its run makes."""
        return self.kind == "evaluate" and not self.submission.startswith("/")


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
        return self.path / self.makes(cell)

    def makes(self, cell: Cell) -> str:
        """The path, below the run's folder, of the file that the cell makes.

        The path of a record contains a hash of the evaluated set. UNKNOWN is in its place until the run has made the set.
        """
        if f"@{UNKNOWN}/" not in cell.makes:
            return cell.makes
        if cell.submission not in self._addresses:
            try:
                self._addresses[cell.submission] = read_manifest(self.path / cell.submission).cell
            except (OSError, ValueError):
                return cell.makes
        return f"{RESULTS}/{self._addresses[cell.submission]}/{'/'.join(PurePosixPath(cell.makes).parts[-2:])}"

    @cached_property
    def _addresses(self) -> dict[str, str]:
        """Addresses of the sets that the run has made, by folder."""
        return {}

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
    basis: tuple[str, ...] = ()  # lines about what the expected durations rest on


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


def write_plan(path: Path, cells: Iterable[Cell], home: Path) -> Planned:
    """Creates the run's folder, or adds new cells to an existing run.

    Cells keep their numbers, so planning again only adds expected durations that have become known. Raises ValueError if a cell
    of the run is planned with other epochs or probes, because both would make the same file.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o755)  # with any umask: others must not write here, see slurm.py
    plan = Plan(run_id=uuid4().hex[:8], home=str(home.resolve()))
    run = Run(path.resolve(), plan)
    with run.locked():
        file, is_new = path / "cells.jsonl", not (path / "plan.json").exists()
        run = run if is_new else Run.open(path)
        if run.plan.home != plan.home:
            raise ValueError(
                f"{path} was planned with VDDBENCH_HOME={run.plan.home}, now it is {plan.home}: name another folder with --run "
                "(batch plan: --out), or delete this one"
            )
        wanted = {cell.makes: cell for cell in cells}
        old = [_with_seconds(cell, wanted.pop(cell.makes, cell)) for cell in (_read_cells(file) if file.exists() else ())]
        if len(old) + len(wanted) > MAX_CELLS:
            raise ValueError(f"{len(old) + len(wanted):,} cells; a run has at most {MAX_CELLS:,}: plan several runs")
        new = [cell.model_copy(update={"index": i}) for i, cell in enumerate(wanted.values(), start=len(old))]
        with replacing(file) as target:
            target.writelines(cell.model_dump_json(exclude_none=True).encode() + b"\n" for cell in (*old, *new))
        if is_new:  # last: its presence means the folder is complete
            write_whole(path / "plan.json", plan.model_dump_json(indent=1).encode() + b"\n")
    return Planned(run, len(new))


def _with_seconds(cell: Cell, again: Cell) -> Cell:
    if (cell.epochs, cell.probes) != (again.epochs, again.probes):
        raise ValueError(
            f"the run has {cell.title} with epochs {cell.epochs} and probes {bool(cell.probes)}, planned now are epochs "
            f"{again.epochs} and probes {bool(again.probes)}: plan a run in another folder"
        )
    return cell if again.seconds is None else cell.model_copy(update={"seconds": again.seconds})


def wait_for(path: Path, seconds: float = LATE_SECONDS) -> None:
    """Waits until `path` exists, because a shared file system may show it late. Raises FileNotFoundError."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            raise FileNotFoundError(f"{path} did not appear within {seconds:.0f} s: is this folder shared by all nodes?")
        with os.scandir(next(p for p in path.parents if p.is_dir())):  # makes NFS refresh the folder
            time.sleep(min(1.0, seconds))
