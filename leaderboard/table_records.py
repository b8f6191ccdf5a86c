"""Which records make up a table: those of one task and network, made under the same conditions.

Records that cannot share a table are refused by `rank`, which names them. A board leaves them out instead (`majority`), because
strangers can add records to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vddbench import lookup
from vddbench.leaderboard.evidence import Evaluated, Loaded
from vddbench.records.files import path_of
from vddbench.records.record import Record
from vddbench.spec import FULL, Task

RANDOM = "random"  # the baseline from which gain is measured
# For each field: (scope, value) of a record. All records of a table that have the same scope must have the same value.
CONDITIONS: dict[str, Callable[[Evaluated], tuple[str, str]]] = {
    "store_digest": lambda one: one.store,
    "protocol_hash": lambda one: (f"{one.record.student} on {one.record.task.dataset}", one.record.protocol_hash),
}


def check_unmixed(evaluated: Iterable[Evaluated], fields: Sequence[str] = tuple(CONDITIONS)) -> None:
    """Raises ValueError, which names two records, if they differ in one of these CONDITIONS."""
    first: dict[tuple[str, str], tuple[Evaluated, str]] = {}
    for one in evaluated:
        for field_ in fields:
            scope, value = CONDITIONS[field_](one)
            other, expected = first.setdefault((field_, scope), (one, value))
            if value != expected:
                raise ValueError(
                    f"two records differ in {field_} and can't share a table: {name(other.record)} ({expected[:8]}) and "
                    f"{name(one.record)} ({value[:8]}); evaluate both on the same prepared store and version, or rank them "
                    "from separate folders"
                )


def check_references(records: Iterable[Record]) -> None:
    """Raises ValueError, which names two records, if different payloads claim the same distillation seed of a reference.

    All values of `gain` and `gap_closed` in a table depend on the references.
    """
    first: dict[tuple[Task, str, str, int], Record] = {}
    for record in filter(is_reference, records):
        other = first.setdefault(_slot(record), record)
        if other.submission_sha256 != record.submission_sha256:
            raise ValueError(
                f"two submissions say they are the reference {record.method!r} of distillation seed {record.distill_seed}: "
                f"{name(other)} and {name(record)}; keep the one that `vddbench distill` makes and rank without the other"
            )


def majority(evaluated: Sequence[Evaluated]) -> Loaded:
    """Leaves out records that would make `rank` refuse a table, because strangers can add records to a board.

    A record is kept if it meets all of these conditions:
    * its student exists;
    * its prepared store is the one that most submissions of its dataset use (in a tie, the one that was used first);
    * its protocol and recipe are those that most submissions of its student and dataset use (in a tie, those that were used
      first);
    * if several payloads claim its distillation seed of a reference, its payload was evaluated first.
    """
    students = set(lookup.names("student"))
    lines = [f"record {name(one.record)}: there is no network {one.record.student}" for one in evaluated
             if one.record.student not in students]  # fmt: skip
    kept = sorted((one for one in evaluated if one.record.student in students), key=lambda one: one.record.date)
    for field_, condition in CONDITIONS.items():
        submissions: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for one in kept:
            scope, value = condition(one)
            submissions[scope][value].add(one.record.submission_sha256)
        most = {scope: max(values, key=lambda value: len(values[value])) for scope, values in submissions.items()}
        agreed = []
        for one in kept:
            scope, value = condition(one)
            if value == most[scope]:
                agreed.append(one)
            else:
                lines.append(
                    f"record {name(one.record)}: its {field_} is {value[:8]}, that of most submissions on {scope} is "
                    f"{most[scope][:8]}"
                )
        kept = agreed
    references: dict[tuple[Task, str, str, int], str] = {}
    for record in filter(is_reference, (one.record for one in kept)):
        references.setdefault(_slot(record), record.submission_sha256)
    agreed = []
    for one in kept:
        sha256 = one.record.submission_sha256
        if references.get(_slot(one.record), sha256) == sha256:
            agreed.append(one)
        else:
            lines.append(f"record {name(one.record)}: another payload is the reference of this distillation seed")
    return Loaded(agreed, lines)


def _slot(record: Record) -> tuple[Task, str, str, int]:
    """The key under which a reference may have only one payload."""
    return record.task, record.student, record.method, record.distill_seed


def is_reference(record: Record) -> bool:
    """Whether tables use the record as a reference: hard labels, `full` on DATASET-full or `random` on a budgeted task."""
    return record.track == "hard" and record.method == (FULL if record.task.is_full else RANDOM)


def name(record: Record) -> str:
    """The name of a record in messages: its path below the results folder."""
    return str(path_of(Path(), record).with_suffix(""))


def tables_of(evaluated: Sequence[Evaluated], task: str | None = None, student: str | None = None) -> list[list[Evaluated]]:
    """The records of each (task, student), with those of the dataset's reference `full`.

    Raises LookupError for a task or student without records; the message lists those that have records.
    """
    of_task = [one for one in evaluated if task in {None, str(one.record.task)}]
    known = {"task": {str(one.record.task) for one in evaluated}, "student": {one.record.student for one in of_task}}
    for kind, asked in (("task", task), ("student", student)):
        if asked is not None and asked not in known[kind]:
            raise LookupError(lookup.unknown(kind, asked, sorted(known[kind])))
    own: dict[tuple[Task, str], list[Evaluated]] = defaultdict(list)
    for one in of_task:
        if student in {None, one.record.student}:
            own[one.record.task, one.record.student].append(one)
    full: dict[tuple[str, str], list[Evaluated]] = defaultdict(list)
    for one in evaluated:
        if is_reference(one.record) and one.record.task.is_full:
            full[one.record.task.dataset, one.record.student].append(one)
    return [
        cells if key[0].is_full else cells + full[key[0].dataset, key[1]]
        for key, cells in sorted(own.items(), key=lambda item: item[0])
    ]
