"""How long cells should take, from records and manifests that exist, and what an estimate rests on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

from vddbench import lookup
from vddbench.cluster.plan import Cell
from vddbench.records.files import MAX_JSON_BYTES
from vddbench.spec import Task
from vddbench.submissions.manifest import MANIFEST, read_manifest
from vddbench.system.files import read_json

MOST_RECORDS = 50  # that are read for each submission and student
MAX_SECONDS = 1e7


class Work(NamedTuple):
    """Cells that should take equally long."""

    kind: str  # of the cells
    task: Task
    name: str  # STUDENT or STUDENT-sdd; distill: METHOD or METHOD_PRESET
    epochs: int | None


class Duration(NamedTuple):
    """The expected seconds of one cell, and what they rest on."""

    seconds: float
    basis: str


Durations = Mapping[Work, Duration]


def work_of(cell: Cell) -> Work:
    name = cell.work if cell.kind == "evaluate" else lookup.named_in_tables(cell.method, cell.preset)
    return Work(cell.kind, cell.task, name, cell.epochs)


def with_durations(cells: Iterable[Cell], durations: Durations) -> list[Cell]:
    """The cells with `seconds` where it is known."""
    return [
        cell.model_copy(update={"seconds": round(durations[work_of(cell)].seconds, 1)}) if work_of(cell) in durations else cell
        for cell in cells
    ]


def basis_of(cells: Iterable[Cell], durations: Durations, is_measured: bool) -> list[str]:
    """One line for each basis of the cells' durations, and one for what is not known. is_measured: after --measure."""
    bases = Counter(durations[work].basis if (work := work_of(cell)) in durations else "" for cell in cells)
    unknown = sorted({work_of(cell).name for cell in cells if work_of(cell) not in durations})
    lines = [f"expected durations of {number:,} cells: {basis}" for basis, number in sorted(bases.items()) if basis]
    if unknown:
        names = ", ".join(unknown)
        why = (
            "--measure does not time methods that make a set in one call; finish"
            if is_measured
            else "Plan again with --measure on a machine with your GPU; or finish"
        )
        lines.append(
            f"expected durations of {bases['']:,} cells are unknown: {names}. {why} one cell of a kind: the next plan uses its "
            "record or manifest"
        )
    return lines


def recorded(results: Sequence[Path], submissions: Sequence[Path] = ()) -> Durations:
    """Median durations of evaluations, from records, and of distillations, from manifests, on the fastest machine of each.

    Does not check the records, because a wrong duration only makes an estimate wrong; skips those that cannot be read.
    """
    seconds: dict[Work, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for work, device, value in (*_of_records(results), *_of_manifests(submissions)):
        if 0 < value < MAX_SECONDS:
            seconds[work][device].append(value)
    return {work: _shortest(by_device, work.kind) for work, by_device in seconds.items()}


def _shortest(by_device: Mapping[str, list[float]], kind: str) -> Duration:
    device, values = min(by_device.items(), key=lambda of_device: (median(of_device[1]), of_device[0]))
    return Duration(median(values), f"medians of {'records' if kind == 'evaluate' else 'manifests'} made on {device}")


def _of_records(roots: Sequence[Path]) -> Iterator[tuple[Work, str, float]]:
    for folder in (folder for root in roots for folder in root.glob("*/*@*/*")):
        for file in islice(sorted(folder.glob("seed*.json")), MOST_RECORDS):
            try:
                task, record = Task.parse(folder.parts[-3]), read_json(file, MAX_JSON_BYTES)
                epochs = record.get("epochs")
                device = (record.get("environment") or {}).get("device") or "an unknown machine"
                yield (
                    Work("evaluate", task, folder.name, None if epochs is None else int(epochs)),
                    str(device)[:100],
                    float(record["train_seconds"]) + float(record["test_seconds"]),
                )
            except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
                continue


def _of_manifests(roots: Sequence[Path]) -> Iterator[tuple[Work, str, float]]:
    for file in (file for root in roots for file in root.glob(f"*/*/{MANIFEST}")):
        try:
            manifest = read_manifest(file.parent.resolve())
        except (OSError, ValueError):
            continue
        device = manifest.distill_hardware[:100] or "an unknown machine"
        yield Work("distill", manifest.task, manifest.method, None), device, manifest.distill_seconds or 0.0
