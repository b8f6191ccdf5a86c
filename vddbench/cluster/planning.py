"""`vddbench batch plan`: plans evaluations that have no record yet, or distillations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from vddbench import lookup
from vddbench.cluster.cells import distillations, evaluations
from vddbench.cluster.durations import basis_of, recorded, with_durations
from vddbench.cluster.measured_durations import measured
from vddbench.cluster.plan import RESULTS, Cell, Planned, write_plan
from vddbench.data.store import Store
from vddbench.distillation.presets import config_for
from vddbench.leaderboard.methods_text import check_has_baseline
from vddbench.protocol import PROTOCOL, Protocol, Sdd, protocol_named
from vddbench.spec import Task
from vddbench.submissions.manifest import read_manifest
from vddbench.system.home import home


def evaluate_plan(
    paths: Sequence[Path],
    students: Sequence[str],
    seeds: Iterable[int],
    results: Path,
    out: Path,
    measure: bool = False,
    probes: bool = False,
    protocol: Protocol | Sdd = PROTOCOL,
) -> Planned:
    """Plans the evaluations that `results` does not have. Raises ValueError, LookupError before anything is written.

    measure: time training and testing on this machine for tasks and students that have no record. probes: also test
    each student without motion.
    """
    for student in students:
        lookup.check_known("student", student)
    if probes and protocol != PROTOCOL:
        raise LookupError(f"probes work with protocol {PROTOCOL.name} only; leave out --probes")
    cells = list(evaluations(paths, students, seeds, probes, protocol))
    left = unrecorded(cells, results)
    return replace(planned(left, [results], [], out, measure), recorded=len(cells) - len(left))


def unrecorded(cells: Iterable[Cell], results: Path) -> list[Cell]:
    """The cells whose record `results` does not have. Moves damaged records aside, as `evaluate` does.

    Raises ValueError if a record was made under other conditions, for example with other epochs or on another prepared store.
    """
    digest_of = cache(digest_if_prepared)
    return [cell for cell in cells if not _is_recorded(cell, f"{results}{cell.makes.removeprefix(RESULTS)}", digest_of)]


def digest_if_prepared(dataset: str) -> str | None:
    """The digest of a dataset's store; None if it is not prepared here."""
    with suppress(LookupError):
        return Store.open(dataset).digest
    return None


def _is_recorded(cell: Cell, path: str, digest_of: Callable[[str], str | None]) -> bool:
    if not os.path.exists(path):  # noqa: PTH110 - fast
        return False
    from vddbench.evaluation.evaluate import existing  # needs torch
    from vddbench.evaluation.record_fields import identity

    assert cell.student is not None  # the path is that of a record
    manifest, protocol = read_manifest(Path(cell.submission)), protocol_named(cell.protocol or PROTOCOL.name, cell.epochs)
    digest = digest_of(cell.task.dataset)
    expected = identity(manifest, digest or "", cell.student, cell.seed, protocol)
    if digest is None:  # which store the record should be from is not known
        del expected["store_digest"]
    return existing(Path(path), expected) is not None


def planned(cells: Sequence[Cell], results: Sequence[Path], submissions: Sequence[Path], out: Path, measure: bool) -> Planned:
    """Writes the plan with expected durations, from records and manifests or measured here, and says what they rest on."""
    durations = dict(recorded([*results, out / RESULTS], submissions))
    if measure:
        durations |= measured(with_durations(cells, durations))
    basis = tuple(basis_of(cells, durations, measure))
    return replace(write_plan(out, with_durations(cells, durations), home()), basis=basis)


def distill_plan(methods: Sequence[str], task: Task, seeds: Iterable[int], preset: str | None, out: Path) -> Planned:
    """Raises LookupError for unknown names and a dataset that is not prepared, ValueError for a broken file of a method."""
    for method in methods:
        check_has_baseline(method)
        config_for(lookup.load("baseline", method), method, task, preset)
    Store.open(task.dataset)
    return write_plan(out, distillations(methods, task, seeds, preset), home())
