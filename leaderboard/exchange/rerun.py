"""A record's student trained again: `reproduce` and `verify` both do this.

What was begun is written down first, `seedN.ADDRESS.rerunning` beside where the new record will stand, so that a command that
was killed at any point goes on with the same re-run when it is repeated.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from vddbench.data.fingerprint import same_data
from vddbench.evaluation.evaluate import Scored, evaluate_cell, identity, measured, tested_videos
from vddbench.records.files import ADDRESS_DIGITS, all_record_files, path_of, read_record
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record
from vddbench.system.files import replacing
from vddbench.system.progress import say

RERUNNING = ".rerunning"


@dataclass(frozen=True)
class One:
    """A record that verified, and its file."""

    path: Path
    record: Record
    predictions: Predictions

    @cached_property
    def digest(self) -> str:
        """sha256 of its file, by which reviews name it."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def cell(self) -> str:
        return f"{self.path.parents[1].parent.name}/{self.path.parents[1].name}"

    @property
    def name(self) -> str:
        return f"{self.cell}/{self.path.parent.name}/seed{self.record.seed}"


def one(path: Path) -> One:
    """Raises ValueError, FileNotFoundError unless the record at `path` verifies."""
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"no record at {path}; give its .json, e.g. results/TASK/METHOD@SHA8/STUDENT/seed0.json")
    return One(path, *read_record(path))


def check_comparable(scored: Scored, claim: One) -> None:
    """Raises ValueError, before anything is trained, unless a student trained here is due to give the same score: submission,
    prepared store with its test videos, protocol and all that follows from them are the same."""
    record = claim.record
    here = identity(scored.submission.manifest, scored.store.digest, record.student, record.seed)
    here |= measured(scored, record.student)
    differ = [
        f"{name} {str(getattr(record, name))[:16]} (here {str(value)[:16]})"
        for name, value in here.items()
        if getattr(record, name) != value and not (name == "store_digest" and same_data(record, scored.store.id))
    ]
    found = vars(claim.predictions)
    differ += [f"other test videos ({name})" for name, due in tested_videos(scored.store).items() if not same(found[name], due)]
    if differ:
        raise ValueError(
            f"record {claim.path}: {'; '.join(differ)}. Only the same submission on the same prepared store under the same "
            "protocol can be run again"
        )


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one, other))


def marker(results: Path, claim: One) -> Path:
    """The note that this record is being run again."""
    return path_of(results, claim.record).with_name(f"seed{claim.record.seed}.{claim.digest[:ADDRESS_DIGITS]}{RERUNNING}")


def begin(results: Path, claim: One) -> Path:
    """Notes which records of the cell stand there before its re-run; a note that is there stays."""
    note = marker(results, claim)
    if not note.exists():
        with replacing(note) as file:
            file.write(json.dumps(sorted(path.name for path in of_cell(results, claim.record))).encode())
    return note


def of_cell(results: Path, record: Record) -> list[Path]:
    place = path_of(results, record)
    files = all_record_files(results, record.cell)
    return [path for path in files if path.parent == place.parent and path.name.split(".")[0] == place.stem]


def rerun(scored: Scored, claim: One, results: Path, device: torch.device) -> One:
    """Trains and tests the student of a record again; the new record stands beside others in `results`. Goes on where a killed
    command stopped, and trains nothing when it had come to its record."""
    before = set(json.loads(begin(results, claim).read_bytes()))
    made = [path for path in of_cell(results, claim.record) if path.name not in before]
    if made:
        say(f"{claim.name}: run again already, {made[0]}")
        return one(made[0])
    return one(evaluate_cell(scored, claim.record.student, claim.record.seed, results, True, device))


def records_in(root: Path, cell: str) -> tuple[list[One], list[str]]:
    """Every record of TASK/METHOD@SHA8 below `root` that verifies, and one line for each that does not."""
    found, refused = [], []
    for path in all_record_files(root, cell):
        try:
            found.append(one(path))
        except (ValueError, OSError) as error:
            refused.append(str(error))
    return found, refused
