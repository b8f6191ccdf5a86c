"""Records -> a ranked table. Reads records and their predictions only; no torch.

First form: mean top-1 over seeds with a 95 % Student-t interval over seeds, bytes, and gain over `random` of the same task.
Ranks are never computed across protocols, prepared stores, tracks, tasks or students.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vddbench.records import read_record, record_files
from vddbench.spec import FULL, Record, Task

MIN_SEEDS = 3  # fewer are shown, marked, and not ranked
# 97.5 % quantiles of Student's t for 1..30 degrees of freedom (NIST handbook, table 1.3.6.7.2); then the normal's
T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
COLUMNS = (
    "task", "student", "track", "rank", "method", "top1", "half_width", "gain", "recovery", "seeds",
    "payload_bytes", "budget_share", "clips_per_class", "flags",
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """Records that verified, and one line for each file that did not."""

    records: list[Record]
    refused: list[str]


def load(roots: Sequence[Path]) -> Loaded:
    """Every record under the results folders, verified against its predictions. Reruns are left out; of a cell that stands
    in two folders, the first folder's record counts."""
    records: dict[str, Record] = {}
    refused = []
    for root in roots:
        for path in record_files(root):
            if str(path.relative_to(root)) in records:
                continue
            try:
                records[str(path.relative_to(root))] = read_record(path)[0]
            except ValueError as error:
                refused.append(str(error))
    return Loaded(list(records.values()), refused)


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


def name(record: Record) -> str:
    """How messages call a record: its path below the results folder."""
    return f"{record.task}/{record.method}@{record.submission_sha256[:8]}/{record.student}/seed{record.seed}"


def entry(records: list[Record]) -> dict[str, object]:
    """One row: the records of one submission and student, all its seeds."""
    records = sorted(records, key=lambda r: r.seed)  # sums of floats depend on their order
    scores = np.array([r.top1 for r in records])
    one = records[0]
    flags = []
    if one.external:
        flags.append("external")
    if not all(r.checks.get("finite", False) for r in records):
        flags.append("collapsed")
    if len(records) < MIN_SEEDS:
        flags.append(f"under {MIN_SEEDS} seeds")
    if one.num_missing:
        flags.append(f"{one.num_missing} videos missing")
    return {
        "task": one.task,
        "student": one.student,
        "track": one.track,
        "method": one.method if one.distill_seed == 0 else f"{one.method}-s{one.distill_seed}",
        "sha256": one.submission_sha256,
        "top1": float(scores.mean()),
        "half_width": half_width(scores),
        "seeds": len(records),
        "payload_bytes": one.payload_bytes,
        "budget_share": one.payload_bytes / one.budget_bytes if one.budget_bytes else float("nan"),
        "clips_per_class": one.clips_per_class,
        "date": min(r.date for r in records),
        "flags": ", ".join(flags),
    }


def rank(records: list[Record]) -> pd.DataFrame:
    """One row per (task, student, track, submission), best first inside each table, reference rows included.

    `gain` is over `random` of the same task and student, `recovery` the share of `full`'s score; NaN without those rows.
    Ranks are competition ranks over entries of at least 3 seeds; `full` is a reference and never ranked. Equal scores go by
    fewer bytes, then the earlier date.
    """
    check_unmixed(records)
    cells: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        cells[(record.task, record.student, record.submission_sha256)].append(record)
    rows = pd.DataFrame([entry(cell) for cell in cells.values()])
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    rows["dataset"] = [Task.parse(task).dataset for task in rows["task"]]
    rows["gain"] = rows["top1"] - reference(rows, "random", ["task", "student"])
    rows["recovery"] = rows["top1"] / reference(rows, FULL, ["dataset", "student"])
    ranked = (rows["seeds"] >= MIN_SEEDS) & (rows["method"] != FULL)
    table = ["task", "student", "track"]
    rows["rank"] = rows[ranked].groupby(table)["top1"].rank(method="min", ascending=False)
    order = [*table, "top1", "payload_bytes", "date"]
    rows = rows.sort_values(order, ascending=[True, True, True, False, True, True], kind="stable")
    return rows.reset_index(drop=True)


def reference(rows: pd.DataFrame, method: str, by: list[str]) -> pd.Series:
    """For each row the mean top-1 of the reference method with the same `by` columns; NaN where there is none."""
    known = rows[rows["method"] == method].groupby(by)["top1"].mean().rename("reference")
    return rows.join(known, on=by)["reference"]
