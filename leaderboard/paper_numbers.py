"""The numbers of the table that papers print: what they report, with its origin, and what records say.

Measured numbers are of one protocol, from the students that count in `rank` (counting.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vddbench import lookup
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.entry import Entry
from vddbench.leaderboard.evidence import Evaluated, Loaded
from vddbench.leaderboard.marks import marked
from vddbench.leaderboard.replayed import STUDENT, score
from vddbench.leaderboard.reported import NOT_STATED, methods, reported
from vddbench.leaderboard.table_records import check_references, check_unmixed
from vddbench.protocol import PROTOCOL, SDD, Protocol, Sdd
from vddbench.spec import FULL, Task

REPORTED, MEASURED = "reported", "measured"
EVALUATE = "; train students on a set (vddbench evaluate), or give the folder of its records with --results"


@dataclass(frozen=True, kw_only=True)
class Number:
    """A top-1 accuracy of a method on a task, and its origin. "", None and NaN: not stated, or it does not apply."""

    method: str
    task: str
    kind: str  # REPORTED or MEASURED
    top1: float  # in [0, 1]; measured: the mean over sets of means over students
    std: float  # in [0, 1]; measured: over the students of one set, pooled over sets
    students: int | None = None
    sets: int | None = None  # that the method distilled
    track: str = ""  # hard or soft labels
    protocol: str = ""
    student: str = ""
    selection: str = ""  # how the reported result was chosen among several
    source: str = ""
    year: int | None = None
    url: str = ""
    caveat: str = ""  # measured: the marks of the entry in `rank`, and its clips if they are more than ipc

    @property
    def origin(self) -> tuple[str, str]:
        """A sentence about a reported number, and its address."""
        facts = ("year", self.year), ("network", self.student), ("selection", self.selection)
        return "; ".join([self.source, *(f"{name}: {value or NOT_STATED}" for name, value in facts)]), self.url


def numbers(
    loaded: Loaded, tasks: Sequence[str], students: Sequence[str], protocol: Protocol | Sdd, add: Sequence[str]
) -> list[Number]:
    """The numbers of the table: methods that papers report, in the order of published.csv, then those of `add`.

    students: the networks of measured numbers. protocol: of measured numbers; of an `Sdd`, only records of its number of epochs
    are shown. Raises LookupError for a task without numbers or a method of `add` without records, ValueError for records that
    cannot share a table.
    """
    order = list(dict.fromkeys([*methods(), *add]))
    records = of_table(loaded, tasks, students, protocol)
    known = {one.record.method for one in records}
    for name in add:
        if name not in known:
            kind = f"method with records of {conditions(students, protocol)} on these tasks"
            raise LookupError(lookup.unknown(kind, name, sorted(known)) + (others(loaded, tasks, name) or EVALUATE))
    both = [number for task in tasks for number in (*reported_on(task), *measured_on(task, records))]
    for task in tasks:
        if not any(number.task == task for number in both):
            nothing = f"task {task} has neither reported numbers nor records of {conditions(students, protocol)}"
            raise LookupError(nothing + (others(loaded, [task]) or EVALUATE))
    shown = [number for number in both if number.method in order]
    return sorted(shown, key=lambda number: order.index(number.method))


def of_table(loaded: Loaded, tasks: Sequence[str], students: Sequence[str], protocol: Protocol | Sdd) -> list[Evaluated]:
    """The records of the tasks and of `full` of their datasets, in the order of `students`.

    Raises ValueError if they cannot share a table.
    """
    wanted = {*tasks, *(f"{Task.parse(task).dataset}-{FULL}" for task in tasks)}
    epochs = protocol.epochs if isinstance(protocol, Sdd) else None
    both = [*loaded.evaluated, *loaded.replayed]
    chosen = [one for one in both if (one.record.protocol, one.record.epochs) == (protocol.name, epochs)]
    of_tasks = [one for one in chosen if str(one.record.task) in wanted]
    records = [one for student in students for one in of_tasks if one.record.student == student]
    check_unmixed(records)
    check_references(one.record for one in records)
    return records


def conditions(students: Sequence[str], protocol: Protocol | Sdd) -> str:
    """The conditions of the measured numbers of a table."""
    epochs = f" of {protocol.epochs} epochs" if isinstance(protocol, Sdd) else ""
    return f"network {' or '.join(students)}, protocol {protocol.name}{epochs}"


def others(loaded: Loaded, tasks: Sequence[str], method: str | None = None) -> str:
    """The end of a message: which options show records of these tasks, of one method or of all. "" if there are no records."""
    options = {
        f"--protocol {one.record.protocol}{f' --epochs {one.record.epochs}' if one.record.is_replay else ''}"
        f"{'' if one.record.student == STUDENT else f' --students {one.record.student}'}"
        for one in (*loaded.evaluated, *loaded.replayed)
        if str(one.record.task) in tasks
        and method in {None, one.record.method}
        and one.record.protocol in {PROTOCOL.name, SDD.name}  # not those of earlier versions, which no option shows
    }
    return f"; there are records for {' and for '.join(sorted(options))}" if options else ""


def measured_on(task: str, records: Sequence[Evaluated]) -> list[Number]:
    """The entries of a task, and `full` of its dataset."""
    full = f"{Task.parse(task).dataset}-{FULL}"
    own = [one for one in records if str(one.record.task) == task or (str(one.record.task), one.record.method) == (full, FULL)]
    return [measured(task, entry) for entry in entries(own)]


def measured(task: str, entry: Entry) -> Number:
    record, mean = entry.one, score([one for of_set in entry.evaluated for one in of_set])
    more = record.task.ipc is not None and record.clips_per_class > record.task.ipc
    clips = [f"{record.clips_per_class:g} clips per class"] if more else []
    return Number(
        method=record.method,
        task=task,
        kind=MEASURED,
        top1=mean.mean,
        std=mean.std,
        students=mean.students,
        sets=mean.sets,
        track=record.track,
        protocol=record.protocol,
        student=record.student,
        caveat=", ".join([*clips, *filter(None, [marked(entry)])]),
    )


def reported_on(task: str) -> list[Number]:
    """What papers report for a task, and for `full` of its dataset."""
    return [
        Number(
            method=row.method,
            task=task,
            kind=REPORTED,
            top1=row.top1,
            std=row.std,
            student=row.student or "",
            selection=row.selection or "",
            source=row.source,
            year=row.year,
            url=row.url,
            caveat=row.caveat or "",
        )
        for row in reported(Task.parse(task))
    ]
