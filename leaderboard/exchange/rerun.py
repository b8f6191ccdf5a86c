"""Evaluates a cell again on this machine: `reproduce` does this for one record, `verify` for several seeds.

The user's own re-runs are ordinary records with the field `by`, in a results folder of their own. A command that was killed
therefore resumes when it is repeated, and trains nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vddbench.data.fingerprint import same_data
from vddbench.evaluation.evaluate import ReadySubmission, evaluate_cell
from vddbench.evaluation.record_fields import identity, measured, tested_videos
from vddbench.leaderboard.bootstrap import ScoreDifference
from vddbench.leaderboard.entry import MIN_SEEDS
from vddbench.leaderboard.maintainers import is_user_name
from vddbench.leaderboard.reruns import difference
from vddbench.records.files import read_record, record_files
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record
from vddbench.system.progress import clean

DEVICE_LETTERS = 60


@dataclass(frozen=True)
class VerifiedRecord:
    """A record whose headline agrees with its predictions, and its file."""

    path: Path
    record: Record
    predictions: Predictions

    @property
    def hits(self) -> np.ndarray:
        """[videos] bool: is the answer right?"""
        return np.asarray(self.predictions.top5[:, 0] == self.predictions.label)

    @property
    def name(self) -> str:
        return f"{self.record.cell}/{self.record.student}/seed{self.record.seed}"


@dataclass(frozen=True)
class Comparison:
    """Claimed records of one student and own records of the same cells."""

    claimed: Sequence[VerifiedRecord]
    own: Sequence[VerifiedRecord]
    apart: ScoreDifference  # claimed minus own; see `reruns.difference`

    @property
    def is_alike(self) -> bool:
        """Whether the claimed students and the user's own students answer the same videos right."""
        return all(np.array_equal(claim.hits, own.hits) for claim, own in zip(self.claimed, self.own, strict=True))

    def interval(self) -> str:
        if self.is_alike:
            return "claimed and own answer the same videos right"
        points = f"claimed - own: {100 * self.apart.difference:+.1f} points"
        if np.isnan(self.apart.low):
            return f"{points}, no interval: it needs {MIN_SEEDS} students and 2 groups of test videos"
        return f"{points}, 95 % interval {100 * self.apart.low:+.1f} to {100 * self.apart.high:+.1f}"

    def lines(self) -> list[str]:
        """The lines that the commands print. Text of a record may come from a stranger."""
        shown = [self.claimed[0].name.rpartition("/")[0]]
        for kind, records in (("claimed", self.claimed), ("own", self.own)):
            shown += [f"  {kind:8}{_described(one.record)}" for one in records]
        return [*shown, f"  {self.interval()}"]


def _described(record: Record) -> str:
    flag = "" if record.checks.get("finite", True) else ", collapsed (NaN)"
    device = " ".join(clean(record.environment.device).split())[:DEVICE_LETTERS]
    return f"seed {record.seed}  top-1 {record.top1:.2%}{flag}  {record.date}  {device}"


def user_name(by: str) -> str:
    """Raises LookupError unless the name can be a record's `by`."""
    if not is_user_name(by):
        raise LookupError(f"--by {by[:80]!r}; allowed: a user name of the Hub of letters, digits, - . _")
    return by


def read_one(path: Path) -> VerifiedRecord:
    """Raises ValueError, FileNotFoundError unless the record at `path` is valid."""
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"no record at {path}; give its .json, e.g. results/TASK/METHOD@SHA8/STUDENT/seed0.json")
    return VerifiedRecord(path, *read_record(path))


def records_in(root: Path, cell: str) -> tuple[list[VerifiedRecord], list[str]]:
    """(valid records of TASK/METHOD@SHA8 below `root` without `--force` repetitions, one line for each invalid record)."""
    records, refused = [], []
    for path in record_files(root, cell):
        try:
            records.append(read_one(path))
        except (ValueError, OSError) as error:
            refused.append(str(error))
    return records, refused


def check_comparable(scored: ReadySubmission, claim: VerifiedRecord) -> None:
    """Raises ValueError unless a student trained here has the same expected score: submission, prepared store with its test
    videos, protocol and everything that follows from them must be equal."""
    record = claim.record
    here = identity(scored.submission.manifest, scored.store.digest, record.student, record.seed)
    here |= measured(scored, record.student)
    differ = [
        f"{name} {str(getattr(record, name))[:16]} (here {str(value)[:16]})"
        for name, value in here.items()
        if getattr(record, name) != value and not (name == "store_digest" and same_data(record, scored.store.id))
    ]
    answered = vars(claim.predictions)
    videos = tested_videos(scored.store)
    differ += [f"other test videos ({name})" for name, value in videos.items() if not np.array_equal(answered[name], value)]
    if differ:
        raise ValueError(
            f"record {claim.path}: {'; '.join(differ)}. Only the same submission on the same prepared store under the same "
            "protocol can be run again"
        )


def run_again(scored: ReadySubmission, claim: VerifiedRecord, own: Path, by: str, device: torch.device) -> VerifiedRecord:
    """The record of the claim's cell by `by` in the results folder `own`: the one that exists, or a newly trained one."""
    record = claim.record
    made = read_one(evaluate_cell(scored, record.student, record.seed, own, False, device, by=by))
    if made.record.by != by:
        whose = "its author" if made.record.by is None else made.record.by
        raise ValueError(f"{made.path} is a record by {whose}, not by {by}; name another folder with --reruns")
    return made


def compared(
    claimed: Sequence[VerifiedRecord], own: Sequence[VerifiedRecord], of_student: Sequence[VerifiedRecord]
) -> Comparison:
    """of_student: claimed records of all seeds of this student."""
    first = {one.record.seed: one.hits for one in sorted(of_student, key=lambda one: one.record.date, reverse=True)}
    hits, own_hits = ([one.hits for one in records] for records in (claimed, own))
    answers = own[0].predictions
    return Comparison(claimed, own, difference(hits, own_hits, answers.group, answers.label, list(first.values())))
