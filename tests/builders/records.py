"""Made-up records and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vddbench.leaderboard import rank as ranking
from vddbench.leaderboard.divisions import IPC
from vddbench.leaderboard.evidence import Evaluated
from vddbench.records.predictions import Predictions
from vddbench.records.record import Environment, Record

GOOD = Predictions(
    video=np.array(["a", "b", "c", "d"]),
    group=np.array(["", "", "g1", "g1"]),
    label=np.array([0, 1, 2, 0], np.int32),
    top5=np.array([[0, 1, 2], [2, 1, 0], [0, 1, 2], [0, 2, 1]], np.int32),
    true_probability=np.array([0.9, 0.2, 0.1, 0.5], np.float32),
    centre_top1=np.array([0, 1, 0, 1], np.int32),
)


def a_record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "protocol": "v1", "protocol_hash": "1" * 64, "task": "toy-ipc1", "method": "mine", "distill_seed": 0,
        "track": "hard", "external": False, "submission_sha256": "ab" * 32, "store_digest": "2" * 64,
        "student": "convnet3d", "seed": 0, "top1": 0.5, "top5": 1.0, "centre_top1": 0.5, "validation_top1": 0.0,
        "holdout": False, "num_test": 4, "num_missing": 0, "student_steps": 2, "num_classes": 3, "payload_bytes": 10,
        "budget_bytes": 10, "clips_per_class": 1, "clip_steps": 6, "train_seconds": 1.0, "test_seconds": 1.0,
        "peak_memory_bytes": 1, "predictions_sha256": "0" * 64, "checks": {"finite": True}, "date": "2026-01-01T00:00:00Z",
        "environment": Environment(
            vddbench="0", git_commit="", python="3", torch="2", cuda="", device="cpu", num_threads=1, precision="fp32",
            micro_batch=1,
        ),
    }  # fmt: skip
    return Record(**{**fields, **changes})


FULL: dict[str, Any] = {"task": "toy-full", "budget_bytes": None}


def seeds(method: str, scores: list[float], sha: str = "", **more: Any) -> list[Evaluated]:
    """A record for each score, with random hits on 1,000 test videos."""
    sha = ((sha or method.encode().hex()) * 64)[:64]
    evaluated = []
    for i, score in enumerate(scores):
        rng = np.random.default_rng([i, *sha.encode(), *str(more).encode()])
        hits = rng.permutation(VIDEOS) < round(score * VIDEOS)
        evaluated.append(Evaluated(a_record(method=method, submission_sha256=sha, seed=i, top1=score, **more), hits, ALONE))
    return evaluated


def rank(evaluated: Sequence[Evaluated]) -> pd.DataFrame:
    """The ranked rows of division `open`, which has every entry, and of DATASET-full."""
    rows = ranking.rank(evaluated)
    return rows[rows["division"] != IPC].reset_index(drop=True)


VIDEOS = 1000


ALONE = np.full(VIDEOS, "")
