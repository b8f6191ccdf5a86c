"""Takes what a run made to where it is ranked: every record is checked first, none is ever replaced."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from vddbench.cluster.plan import RESULTS, SUBMISSIONS, Cell, Run
from vddbench.records.files import PREDICTIONS, read_record
from vddbench.system.files import replacing, write_new
from vddbench.system.progress import bar


@dataclass
class Collected:
    """Numbers of cells, and what is wrong with the damaged ones."""

    copied: list[int] = field(default_factory=list)
    there: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    other: dict[int, str] = field(default_factory=dict)  # another record stands at its place


def collect(run: Run, results: Path, submissions: Path) -> Collected:
    """Copies records to `results` and distilled sets to `submissions`. Twice does nothing twice."""
    found = Collected()
    with bar("collecting", len(run.cells)) as shown:
        for cell in run.cells:
            take = _record if cell.kind == "evaluate" else _submission
            take(run, cell, results if cell.kind == "evaluate" else submissions, found)
            shown.advance()
    return found


def _record(run: Run, cell: Cell, results: Path, found: Collected) -> None:
    made = run.made(cell)
    if not made.exists():
        found.missing.append(cell.index)
        return
    try:
        read_record(made)
    except ValueError as error:
        found.damaged[cell.index] = str(error)
        return
    target = results / Path(cell.makes).relative_to(RESULTS)
    if target.exists():
        _found(cell, _same(made, target), f"{target} is of another evaluation; it stays", found)
        return
    with replacing(target.with_suffix(PREDICTIONS)) as file:  # JSON last: its presence means that the record is whole
        file.write(made.with_suffix(PREDICTIONS).read_bytes())
    write_new(target, lambda file: file.write(made.read_bytes()))
    found.copied.append(cell.index)


def _found(cell: Cell, same: bool, otherwise: str, found: Collected) -> None:
    if same:
        found.there.append(cell.index)
    else:
        found.other[cell.index] = otherwise


def _same(first: Path, second: Path) -> bool:
    return first.stat().st_size == second.stat().st_size and first.read_bytes() == second.read_bytes()


def _submission(run: Run, cell: Cell, submissions: Path, found: Collected) -> None:
    from vddbench.submissions.manifest import DATA, MANIFEST, inside, read_manifest
    from vddbench.submissions.submission import check_place, check_sha256

    made = run.made(cell)
    if not made.exists():
        found.missing.append(cell.index)
        return
    try:
        manifest = read_manifest(made.parent)
        check_place(made.parent, manifest)
        check_sha256(made.parent, manifest)
    except (ValueError, OSError) as error:
        found.damaged[cell.index] = str(error)
        return
    folder = submissions / Path(cell.makes).relative_to(SUBMISSIONS).parent
    if (folder / made.name).exists():
        _found(cell, _same(made, folder / made.name), f"{folder} is of another distillation; it stays", found)
        return
    for name in (DATA, MANIFEST):  # the manifest last: its presence means that the submission is whole
        with inside(made.parent, name).open("rb") as file, replacing(folder / name) as target:
            shutil.copyfileobj(file, target)
    found.copied.append(cell.index)
