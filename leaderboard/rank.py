"""Records -> a ranked table. Reads records and their predictions only; no torch.

First form: mean top-1 over seeds with a 95 % Student-t interval over seeds, bytes, and gain over `random` of the same task.
Ranks are never computed across protocols, prepared stores, tracks, tasks or students.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vddbench import lookup
from vddbench.records import path_of, read_record, record_files
from vddbench.spec import FULL, Record, Task

MIN_SEEDS = 3  # fewer are shown, marked, and not ranked
RANDOM = "random"  # the baseline that gain is measured over
# 97.5 % quantiles of Student's t for 1..30 degrees of freedom (NIST handbook, table 1.3.6.7.2); then the normal's
T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
ENTRY = ["task", "student", "track", "method", "distill_seed", "sha256"]  # methods can write the same bytes
COLUMNS = [
    "task", "student", "track", "rank", "method", "distill_seed", "top1", "half_width", "gain", "recovery", "seeds",
    "payload_bytes", "budget_share", "clips_per_class", "flags", "date", "sha256", "dataset",
]  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """Records that verified, the files they are of, and one line for each file that did not."""

    records: list[Record]
    paths: list[Path]
    refused: list[str]


def load(roots: Sequence[Path]) -> Loaded:
    """Every record under the results folders, verified against its predictions. Reruns are left out; of a cell that stands
    in two folders, the first folder's record counts. Records of one prepared store answer the same test videos: those that
    disagree with most of them are refused."""
    found: dict[str, tuple[Path, Record, str]] = {}
    refused = []
    for root in roots:
        for path in record_files(root):
            cell = str(path.relative_to(root))
            if cell in found:
                continue
            try:
                record, predictions = read_record(path)
            except (ValueError, OSError) as error:
                refused.append(str(error))
            else:
                found[cell] = (path, record, predictions.videos_digest())
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for _, record, digest in found.values():
        answers[_store(record)][digest] += 1
    records, paths = [], []
    for path, record, digest in found.values():
        [(most, count)] = answers[_store(record)].most_common(1)  # of equally many, the first one loaded
        if digest == most:
            records.append(record)
            paths.append(path)
        else:
            refused.append(
                f"record {path}: its test videos, labels or groups differ from those of {count} other records of the "
                f"prepared store {record.store_digest[:8]}; evaluate it again on that store"
            )
    return Loaded(records, paths, refused)


def _store(record: Record) -> tuple[str, str]:
    return Task.parse(record.task).dataset, record.store_digest


def half_width(scores: np.ndarray) -> float:
    """Half of the 95 % Student-t interval of the mean over n seeds; NaN for one seed."""
    n = len(scores)
    if n < 2:
        return float("nan")
    quantile = T_975[n - 2] if n - 1 <= len(T_975) else 1.960
    return float(quantile * scores.std(ddof=1) / np.sqrt(n))


def check_unmixed(records: Iterable[Record]) -> None:
    """Raises ValueError naming two records that can't share a table: other prepared stores, protocols or recipes."""
    first: dict[tuple[str, str], Record] = {}
    for record in records:
        dataset = Task.parse(record.task).dataset
        for key, field in (((dataset, "store"), "store_digest"), ((record.student, "student"), "protocol_hash")):
            other = first.setdefault(key, record)
            if getattr(other, field) != getattr(record, field):
                raise ValueError(
                    f"two records differ in {field} and can't share a table: "
                    f"{name(other)} ({getattr(other, field)[:8]}) and {name(record)} ({getattr(record, field)[:8]}); "
                    "evaluate both on the same prepared store and version, or rank them from separate folders"
                )


def check_references(records: Iterable[Record]) -> None:
    """Raises ValueError naming two records of a reference method that claim one distillation seed for different payloads:
    every gain or recovery of the table hangs on them."""
    first: dict[tuple[str, str, str, int], Record] = {}
    for record in filter(is_reference, records):
        other = first.setdefault((record.task, record.student, record.method, record.distill_seed), record)
        if other.submission_sha256 != record.submission_sha256:
            raise ValueError(
                f"two submissions say they are the reference {record.method!r} of distillation seed {record.distill_seed}: "
                f"{name(other)} and {name(record)}; keep the one that `vddbench distill` makes and rank without the other"
            )


def is_reference(record: Record) -> bool:
    """`full` on DATASET-full and `random` on a budgeted task. Hard labels only: each track's rows are held against them."""
    return record.track == "hard" and record.method == (FULL if _is_full(record.task) else RANDOM)


def _is_full(task: str) -> bool:
    return Task.parse(task).ipc is None


def name(record: Record) -> str:
    """How messages call a record: its path below the results folder."""
    return str(path_of(Path(), record).with_suffix(""))


def tables_of(records: Sequence[Record], task: str | None = None, student: str | None = None) -> list[list[Record]]:
    """The records of each table, (task, student), with the dataset's reference `full`. Raises LookupError, saying what there
    is, when a task or student is asked for that no record has."""
    of_task = [r for r in records if task in {None, r.task}]
    for kind, asked, known in (("task", task, {r.task for r in records}), ("student", student, {r.student for r in of_task})):
        if asked is not None and asked not in known:
            raise LookupError(lookup.unknown(kind, asked, sorted(known)))
    own: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in of_task:
        if student in {None, record.student}:
            own[(record.task, record.student)].append(record)
    full: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if is_reference(record) and _is_full(record.task):
            full[(Task.parse(record.task).dataset, record.student)].append(record)
    return [
        cells if _is_full(name_) else cells + full[(Task.parse(name_).dataset, student_)]
        for (name_, student_), cells in sorted(own.items())
    ]


def entry(records: list[Record]) -> dict[str, object]:
    """One row: the records of one submission and student, all its seeds."""
    scores = np.array([r.top1 for r in records])
    one = records[0]
    flags = []
    if any(r.external for r in records):
        flags.append("external")
    if not all(r.checks.get("finite", False) for r in records):
        flags.append("collapsed")
    if len(records) < MIN_SEEDS:
        flags.append(f"under {MIN_SEEDS} seeds")
    if missing := max(r.num_missing for r in records):
        flags.append(f"{missing} videos missing")
    return {
        "task": one.task,
        "student": one.student,
        "track": one.track,
        "method": one.method,
        "distill_seed": one.distill_seed,
        "sha256": one.submission_sha256,
        "top1": float(scores.mean()),
        "half_width": half_width(scores),
        "seeds": len(records),
        "payload_bytes": one.payload_bytes,
        "budget_share": one.payload_bytes / one.budget_bytes if one.budget_bytes else float("nan"),
        "clips_per_class": one.clips_per_class,
        "date": min(r.date for r in records),
        "flags": ", ".join(flags),
        "dataset": Task.parse(one.task).dataset,
        "is_reference": is_reference(one),
    }


def rank(records: Sequence[Record]) -> pd.DataFrame:
    """One row per (task, student, track, submission), best first inside each table, reference rows included.

    `gain` is over `random` of the same task and student, `recovery` the share of `full`'s score; NaN without those rows.
    Ranks are competition ranks over entries of at least 3 seeds; DATASET-full is a reference and never ranked. Equal scores
    go by fewer bytes, then the earlier date. Raises ValueError for records that can't share a table.
    """
    records = sorted(records, key=lambda r: (name(r), r.distill_seed, r.track))  # sums of floats depend on their order
    check_unmixed(records)
    check_references(records)
    cells: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for r in records:
        cells[(r.task, r.student, r.track, r.method, r.distill_seed, r.submission_sha256)].append(r)
    if not cells:
        return pd.DataFrame(columns=COLUMNS)
    rows = pd.DataFrame([entry(sorted(cell, key=lambda r: r.seed)) for cell in cells.values()])
    rows["gain"] = rows["top1"] - reference(rows, RANDOM, ["task", "student"])
    rows["recovery"] = rows["top1"] / reference(rows, FULL, ["dataset", "student"])
    ranked = (rows["seeds"] >= MIN_SEEDS) & (rows["task"] != rows["dataset"] + f"-{FULL}")
    table = ["task", "student", "track"]
    rows["rank"] = rows[ranked].groupby(table)["top1"].rank(method="min", ascending=False)
    order = [*table, "top1", "payload_bytes", "date", "method", "distill_seed", "sha256"]
    rows = rows.sort_values(order, ascending=[column != "top1" for column in order], kind="stable")
    return rows[COLUMNS].reset_index(drop=True)


def reference(rows: pd.DataFrame, method: str, by: list[str]) -> pd.Series:
    """For each row the mean top-1 of the reference method with the same `by` columns, over its distillation seeds: those of
    enough student seeds when there are any, else all. NaN where there is none."""
    known = rows[rows["is_reference"] & (rows["method"] == method)]
    enough = known[known["seeds"] >= MIN_SEEDS]
    means = pd.concat([part.groupby(by)["top1"].mean() for part in (enough, known)])
    return rows.join(means[~means.index.duplicated()].rename("reference"), on=by)["reference"]
