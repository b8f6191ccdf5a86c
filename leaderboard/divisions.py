"""The two divisions of the ranking: two questions about the same records.

`ipc` asks how good training on ipc clips per class is; a payload is in it if it decodes to at most ipc * K clips. `open` asks
how good training on these bytes is, however many clips they decode to; every payload is in it. In both, bytes are within the
budget: reading refuses other records (records/files.py). DATASET-full has no budget and is in neither.

A division is a filter of the records, applied before anything is ranked. So no number in one division depends on payloads that
are only in the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from vddbench import lookup
from vddbench.leaderboard.entry import TableKey
from vddbench.leaderboard.evidence import Evaluated
from vddbench.spec import DIVISIONS, Task

IPC, OPEN = DIVISIONS
NONE = ""  # of DATASET-full
BOTH = f"{IPC} and {OPEN}"  # where two methods have the same records in both


def chosen(division: str | None) -> tuple[str, ...]:
    """The named division, or both. Raises LookupError for another name."""
    if division is None:
        return DIVISIONS
    if division not in DIVISIONS:
        raise LookupError(lookup.unknown("division", division, list(DIVISIONS)))
    return (division,)


def in_divisions(evaluated: Iterable[Evaluated]) -> dict[str, list[Evaluated]]:
    """The records of each division that has any, and those of DATASET-full under NONE.

    Records of one payload should agree on its clips. If they do not, the largest number counts: one false record cannot move a
    payload into `ipc`.
    """
    evaluated = list(evaluated)
    clips: dict[tuple[str, str], float] = defaultdict(float)
    for one in evaluated:
        key = one.record.method, one.record.submission_sha256
        clips[key] = max(clips[key], one.record.clips_per_class)
    parts: dict[str, list[Evaluated]] = {IPC: [], OPEN: [], NONE: []}
    for one in evaluated:
        divisions = one.record.task.divisions(clips[one.record.method, one.record.submission_sha256])
        for division in divisions or (NONE,):
            parts[division].append(one)
    return {division: part for division, part in parts.items() if part}


def once(parts: dict[str, list[Evaluated]]) -> dict[str, list[Evaluated]]:
    """The same parts, with one part BOTH if the two divisions have the same records."""
    if parts.keys() >= {IPC, OPEN} and len(parts[IPC]) == len(parts[OPEN]):  # `ipc` is a part of `open`
        return {BOTH: parts[IPC]}
    return parts


def question(task: Task, division: str) -> str:
    """What a table of the division answers; empty for DATASET-full."""
    if task.ipc is None:
        return ""
    if division == IPC:
        return f"How good is training on at most {clips_text(task.ipc)} per class, within the budget of bytes?"
    return "How good is training on the bytes of this budget, however many clips they decode to?"


def without_entries(keys: Iterable[TableKey]) -> list[TableKey]:
    """The tables that are missing from `keys` because a division has no entries, although the other one has some."""
    known = [key for key in keys if key.division != NONE]
    return sorted({key._replace(division=division) for key in known for division in DIVISIONS} - set(known))


def nobody(task: Task, division: str) -> str:
    """The sentence in place of a table without entries."""
    assert task.ipc is not None
    why = f": every set decodes to more than {clips_text(task.ipc)} per class; see division {OPEN}" if division == IPC else ""
    return f"No entry of {task} is in division {division}{why}."


def clips_text(count: int) -> str:
    return f"{count} {'clip' if count == 1 else 'clips'}"
