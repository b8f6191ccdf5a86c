"""Ranked entries in the format of Every Eval Ever, a shared format for results of evaluations (schema 0.3.0).

https://github.com/evaleval/every_eval_ever defines the fields. In its terms, a model is a network trained on the sets of one
method for one task, and its only result is top-1 accuracy on the test videos, with the interval of `vddbench rank`. Scores of
single videos are not exported: they are in the records.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from vddbench import lookup
from vddbench.leaderboard import project
from vddbench.leaderboard.divisions import NONE
from vddbench.leaderboard.site.board import Board
from vddbench.leaderboard.site.entries import Entry
from vddbench.records.record import Record
from vddbench.system.files import write_whole

SCHEMA_VERSION = "0.3.0"
COLLECTION = DEVELOPER = "vddbench"  # folders of the datastore: data/COLLECTION/DEVELOPER/MODEL/UUID.json
DETAILS = (  # columns of `rank` that a result repeats
    "gain", "gap_closed", "distillations", "seeds", "std_students", "std_distillations", "payload_bytes", "budget_share",
    "clips_per_class", "flags", "sha256",
)  # fmt: skip


def write(board: Board, organization: str, into: Path, now: float) -> list[Path]:
    """Writes a file for each entry that is ranked, or trained on all videos; returns their paths.

    organization: who publishes these results. now: seconds since 1970. The same entry gets the same path again.
    """
    written = []
    for entries in entries_of(board):
        log = log_of(entries, organization, now)
        target = into / path_of(log)
        write_whole(target, json.dumps(log, indent=2, allow_nan=False).encode() + b"\n")
        written.append(target)
    return written


def entries_of(board: Board) -> Iterator[list[Entry]]:
    """The rows of each entry: one, or one for each division that it is in."""
    rows: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for table in board.tables:
        for entry in (*table.entries, *table.full):
            key = tuple(str(entry.row[name]) for name in ("task", "student", "track", "method", "sha256"))
            if (entry.is_ranked or entry.is_full) and entry not in rows[key]:
                rows[key].append(entry)
    yield from filter(None, rows.values())


def log_of(entries: Sequence[Entry], organization: str, now: float) -> dict[str, Any]:
    """One entry as an evaluation log. entries: its rows, which differ in their ranks only."""
    row, records = entries[0].row, [one.record for one in entries[0].evaluated]
    newest = max(records, key=lambda record: record.date)
    name = "-".join([str(newest.student), str(newest.task), str(row["method"]), *(["soft"] if row["track"] == "soft" else [])])
    model = f"{DEVELOPER}/{name}-{str(row['sha256'])[:8]}"
    evaluated_at = int(datetime.fromisoformat(newest.date).timestamp())
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{COLLECTION}/{model}/{evaluated_at}",
        "evaluation_timestamp": newest.date,
        "retrieved_timestamp": str(int(now)),
        "source_metadata": {
            "source_name": COLLECTION,
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "third_party" if row["basis"] == "verified" else "first_party",
        },
        "eval_library": {
            "name": COLLECTION,
            "version": newest.environment.vddbench or "unknown",
            "additional_details": {
                "protocol": newest.protocol,
                "protocol_hash": newest.protocol_hash,
                **({"repository": project.repository()} if project.repository() else {}),
            },
        },
        "model_info": {
            "name": f"{newest.student} trained on {row['title'] or row['method']}, {newest.task}",
            "id": model,
            "developer": DEVELOPER,
            "inference_engine": {"name": "torch", "version": newest.environment.torch},
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "network": newest.student,
                "method": str(row["method"]),
                "labels": str(row["track"]),
            },
        },
        "evaluation_results": [result_of(entries, newest)],
    }


def result_of(entries: Sequence[Entry], newest: Record) -> dict[str, Any]:
    """Top-1 accuracy with its interval; ranks and sizes as details, which the format wants as text."""
    row = entries[0].row
    details = {name: text_of(row[name]) for name in DETAILS if text_of(row[name])}
    for entry in entries:
        if entry.is_ranked and entry.row["division"] != NONE:
            details[f"rank_{entry.row['division']}"] = text_of(entry.row["rank"])
    uncertainty: dict[str, Any] = {"num_samples": newest.num_test}
    if not pd.isna(row["low"]):
        method = "over test videos, students and distilled sets; docs/ranking.md of vddbench"
        bounds = {"lower": max(0.0, float(row["low"])), "upper": min(1.0, float(row["high"]))}
        uncertainty["confidence_interval"] = {**bounds, "confidence_level": 0.95, "method": method}
    return {
        "evaluation_name": f"{COLLECTION}.{newest.task}",
        "source_data": source_of(newest),
        "metric_config": {
            "metric_id": "accuracy",
            "metric_name": "Top-1 accuracy",
            "metric_kind": "accuracy",
            "metric_unit": "proportion",
            "metric_parameters": {"k": 1},
            "evaluation_description": "Share of test videos that networks trained on a distilled set alone get right",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {"score": float(row["top1"]), "details": details, "uncertainty": uncertainty},
    }


def source_of(record: Record) -> dict[str, Any]:
    """The dataset of the test videos: its address if it is a built-in one that has an address."""
    name = record.task.dataset
    facts = {"split": "test", "videos": str(record.num_test), "store_digest": record.store_digest}
    stated = lookup.load("dataset", name).SPEC.source if name in lookup.names("dataset") else ""
    found = re.search(r"https://[^\s,()]+", stated)
    if found is None:
        return {"dataset_name": name, "source_type": "other", "additional_details": facts}
    return {"dataset_name": name, "source_type": "url", "url": [found[0]], "additional_details": facts}


def text_of(value: object) -> str:
    """A cell of a ranked row as text; "" for a missing one."""
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:g}" if value != round(value) else f"{value:.0f}"
    return str(value)


def path_of(log: Mapping[str, Any]) -> PurePosixPath:
    """Where the datastore keeps a log. Its name must be a UUID of version 4; this one follows from the model's name."""
    model = str(log["model_info"]["id"])
    name = uuid.UUID(bytes=hashlib.sha256(model.encode()).digest()[:16], version=4)
    return PurePosixPath("data", COLLECTION, *model.split("/"), f"{name}.json")
