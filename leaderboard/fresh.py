"""Verified students: those that a maintainer trained on fresh seeds (records/fresh_seeds.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from vddbench.records.fresh_seeds import first_fresh_seed

if TYPE_CHECKING:
    from vddbench.leaderboard.evidence import Evaluated


class FreshStudents(NamedTuple):
    """Verified students, and one line for each record that names a commit and is not one."""

    counted: list[Evaluated]
    refused: list[str]


def fresh_students(reruns: Iterable[Evaluated], maintainers: Collection[str]) -> FreshStudents:
    """The re-runs that name a commit (`Record.drawn_from`), if a maintainer made them on the seeds that follow from it.

    The seeds of a payload, student, maintainer and commit must be `first, first + 1, ...` without a gap.
    """
    draws: dict[tuple[object, ...], dict[int, Evaluated]] = defaultdict(dict)
    checked = FreshStudents([], [])
    for one in sorted(reruns, key=lambda one: (one.record.date, one.path)):
        record = one.record
        if record.drawn_from is None:
            continue
        if record.by not in maintainers:
            checked.refused.append(f"record {one.path}: {record.by} is not a maintainer, so it verifies nothing")
            continue
        key = record.cell, record.submission_sha256, record.student, record.by, record.drawn_from
        draws[key].setdefault(record.seed, replace(one, is_verified=True))
    for by_seed in draws.values():
        record = next(iter(by_seed.values())).record
        first = first_fresh_seed(record.submission_sha256, str(record.drawn_from))
        if sorted(by_seed) == list(range(first, first + len(by_seed))):
            checked.counted.extend(one for _, one in sorted(by_seed.items()))
        else:
            checked.refused.extend(
                f"record {one.path}: its seed does not follow from its payload and the commit "
                f"{str(record.drawn_from)[:8]}; allowed: {first}, {first + 1}, ... without a gap"
                for one in by_seed.values()
            )
    return checked
