"""Makes the cells of a run: evaluations of sets that exist or that the run will distill, and distillations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from vddbench.cluster.plan import RESULTS, SUBMISSIONS, UNKNOWN, Cell
from vddbench.lookup import named_in_tables
from vddbench.protocol import PROTOCOL, Protocol, Sdd
from vddbench.records.files import cell_path
from vddbench.spec import Task, cell_of, folder_of
from vddbench.submissions.manifest import MANIFEST, read_manifest


def evaluations(
    paths: Sequence[Path],
    students: Sequence[str],
    seeds: Iterable[int],
    probes: bool = False,
    protocol: Protocol | Sdd = PROTOCOL,
) -> Iterator[Cell]:
    """Returns a cell for each submission, student and seed. Reads only the manifests. Raises ValueError."""
    seeds = list(seeds)
    for path in paths:
        folder = (path.parent if path.name == MANIFEST else path).resolve()
        manifest = read_manifest(folder)
        if (folder.parent.name, folder.name) != (str(manifest.task), manifest.folder):
            raise ValueError(f"{path}: its manifest says {manifest.task}/{manifest.folder}; vddbench check {path}")
        for student in students:
            yield from _of_one_set(manifest.task, manifest.folder, str(folder), manifest.cell, student, seeds, probes, protocol)


def evaluations_of(
    distillation: Cell, students: Sequence[str], seeds: Iterable[int], protocol: Protocol | Sdd = PROTOCOL
) -> Iterator[Cell]:
    """Returns a cell for each student and seed on the set that another cell of the run makes."""
    set_folder, task = distillation.set_folder, distillation.task
    folder = PurePosixPath(set_folder).name
    for student in students:
        yield from _of_one_set(task, folder, set_folder, cell_of(task, folder, UNKNOWN), student, seeds, False, protocol)


def _of_one_set(
    task: Task,
    folder: str,
    submission: str,
    address: str,
    student: str,
    seeds: Iterable[int],
    probes: bool,
    protocol: Protocol | Sdd,
) -> Iterator[Cell]:
    first = cell_path(Path(RESULTS), address, student, 0, protocol.name)
    for seed in seeds:
        yield Cell(
            index=0,
            kind="evaluate",
            task=task,
            method=folder,
            submission=submission,
            student=student,
            seed=seed,
            probes=probes or None,
            protocol=None if protocol == PROTOCOL else protocol.name,
            epochs=protocol.epochs if isinstance(protocol, Sdd) else None,
            makes=f"{first.parent.as_posix()}/seed{seed}.json",
        )


def distillations(methods: Sequence[str], task: Task, seeds: Iterable[int], preset: str | None) -> Iterator[Cell]:
    """Returns a cell for each baseline and seed."""
    for method in methods:
        name = named_in_tables(method, preset)
        for seed in seeds:
            makes = f"{SUBMISSIONS}/{task}/{folder_of(name, seed)}/{MANIFEST}"
            yield Cell(index=0, kind="distill", task=task, method=method, seed=seed, preset=preset, makes=makes)
