"""Copies records and distilled sets of a run to where they are ranked. Checks every record first, and never replaces one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vddbench.cluster.plan import RESULTS, SUBMISSIONS, Cell, Run
from vddbench.records.files import PREDICTIONS, read_record
from vddbench.system.files import copy_whole, write_new
from vddbench.system.progress import bar


@dataclass
class Collected:
    """Numbers of cells, and problems by the cell's number."""

    copied: list[int] = field(default_factory=list)
    there: list[int] = field(default_factory=list)  # copied before
    missing: list[int] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    other: dict[int, str] = field(default_factory=dict)  # another record or submission has its path


def collect(run: Run, results: Path, submissions: Path) -> Collected:
    """Copies records to `results` and distilled sets to `submissions`. Skips files that exist, so the call can be repeated."""
    collected = Collected()
    with bar("collecting", len(run.cells)) as shown:
        for cell in run.cells:
            if cell.kind == "evaluate":
                _collect(run, cell, results / Path(run.makes(cell)).relative_to(RESULTS), collected)
            else:
                _collect(run, cell, submissions / Path(cell.makes).relative_to(SUBMISSIONS), collected)
            shown.advance()
    return collected


def _collect(run: Run, cell: Cell, target: Path, collected: Collected) -> None:
    made = run.made(cell)
    if not made.exists():
        collected.missing.append(cell.index)
        return
    try:
        files = _record(made) if cell.kind == "evaluate" else _submission(made)
    except (ValueError, OSError) as error:
        collected.damaged[cell.index] = str(error)
        return
    if target.exists():
        if target.read_bytes() == made.read_bytes() or (cell.kind != "evaluate" and _same_set(target, made)):
            collected.there.append(cell.index)
        else:
            kind = "evaluation" if cell.kind == "evaluate" else "distillation"
            collected.other[cell.index] = f"{target} belongs to another {kind}; it is kept"
        return
    for source in files:
        copy_whole(source, target.with_name(source.name))
    with made.open("rb") as file:  # last: its presence means that the record or submission is complete
        write_new(target, lambda copy: shutil.copyfileobj(file, copy))
    collected.copied.append(cell.index)


def _record(made: Path) -> Sequence[Path]:
    """The files to copy before the record's JSON. Raises ValueError."""
    read_record(made)
    return [made.with_suffix(PREDICTIONS)]


def _same_set(target: Path, made: Path) -> bool:
    """Whether two manifests describe the same payload; the seconds and the hardware of distilling it may differ."""
    from vddbench.submissions.manifest import read_manifest
    from vddbench.submissions.write import holds

    return holds(target.parent, read_manifest(made.parent))


def _submission(made: Path) -> Sequence[Path]:
    """The files to copy before the manifest. Raises ValueError, OSError."""
    from vddbench.submissions.manifest import DATA, inside, read_manifest
    from vddbench.submissions.rules import check_place, check_sha256

    manifest = read_manifest(made.parent)
    check_place(made.parent, manifest)
    check_sha256(made.parent, manifest)
    return [inside(made.parent, DATA)]
