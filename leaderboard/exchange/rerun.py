"""Trains students of a payload again on this machine: `reproduce` with a record's seed, `verify` on fresh seeds.

The user's own re-runs are ordinary records with the field `by`, in a private folder. A command that was killed resumes when it
is repeated, and trains nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vddbench.data.fingerprint import same_data
from vddbench.data.store import Store
from vddbench.evaluation.evaluate import evaluate_cell
from vddbench.evaluation.ready import ReadySubmission
from vddbench.evaluation.record_fields import identity, measured, tested_videos
from vddbench.leaderboard.bootstrap import ScoreDifference
from vddbench.leaderboard.entry import MIN_SEEDS
from vddbench.leaderboard.maintainers import is_user_name
from vddbench.leaderboard.reruns import difference
from vddbench.protocol import PROTOCOL
from vddbench.records.files import PREDICTIONS, path_of, read_record, record_files
from vddbench.records.fresh_seeds import first_fresh_seed
from vddbench.records.predictions import videos_digest
from vddbench.records.record import Record
from vddbench.system.files import write_whole
from vddbench.system.home import private_folder
from vddbench.system.progress import clean

FOLDER = "own-runs"  # below VDDBENCH_HOME
DEVICE_LETTERS = 60


@dataclass(frozen=True)
class VerifiedRecord:
    """A record whose scores agree with its predictions, its file, and the videos that its student got right.

    The predictions themselves are not kept: a pull request may bring 1,000 records.
    """

    path: Path
    record: Record
    hits: np.ndarray  # [videos] bool
    videos_digest: str  # of the test videos, labels and groups

    @property
    def name(self) -> str:
        return f"{self.record.cell}/{self.record.student}/seed{self.record.seed}"


@dataclass(frozen=True)
class Comparison:
    """Claimed and own records of one payload and student: of the same seeds, or own ones on fresh seeds."""

    claimed: Sequence[VerifiedRecord]
    own: Sequence[VerifiedRecord]
    apart: ScoreDifference  # claimed minus own; see `reruns.difference`

    @property
    def is_alike(self) -> bool:
        """Whether the claimed students and the user's own students answer the same videos right."""
        pairs = zip(self.claimed, self.own, strict=False)
        return len(self.claimed) == len(self.own) and all(np.array_equal(claim.hits, own.hits) for claim, own in pairs)

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
    record, predictions = read_record(path)
    return VerifiedRecord(path, record, predictions.top5[:, 0] == predictions.label, predictions.videos_digest())


def records_in(root: Path, cell: str) -> tuple[list[VerifiedRecord], list[str]]:
    """(valid records of TASK/METHOD@SHA8 below `root`, one line for each invalid record).

    Repetitions by `--force` and records of protocol sdd are left out.
    """
    records, refused = [], []
    for path in record_files(root, cell):
        try:
            records.append(read_one(path))
        except (ValueError, OSError) as error:
            refused.append(str(error))
    return [one for one in records if not one.record.is_replay], refused


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
    differ += ["other test videos"] if claim.videos_digest != digest_of(scored.store) else []
    if differ:
        raise ValueError(
            f"record {claim.path}: {'; '.join(differ)}. Only the same submission on the same prepared store under the same "
            "protocol can be run again"
        )


def digest_of(store: Store) -> str:
    """The digest of a store's test videos, labels and groups, as `Predictions.videos_digest` gives it."""
    return videos_digest(**tested_videos(store))


class OwnRuns:
    """Students that this machine trains again, in a private folder below VDDBENCH_HOME, one for each user name and payload.

    Nothing that strangers bring is ever in there: neither records, nor checkpoints, nor the commit that seeds follow from.
    """

    def __init__(self, scored: ReadySubmission, by: str, device: torch.device, keep_networks: bool = False) -> None:
        """keep_networks: in a folder apart, so that each record there has the network that gave its answers."""
        self.scored, self.by, self.device, self.keep_networks = scored, by, device, keep_networks
        self.sha256 = scored.submission.manifest.sha256
        self.folder = private_folder(FOLDER, by, self.sha256)
        name = f"{PROTOCOL.name}-{scored.store.digest[:16]}{'-networks' if keep_networks else ''}"
        self.results = private_folder(FOLDER, by, self.sha256, name)

    def train(self, student: str, seed: int, drawn_from: str | None = None) -> VerifiedRecord:
        """The record of this student and seed: the one that exists here, or a newly trained one."""
        path = evaluate_cell(
            self.scored,
            student,
            seed,
            self.results,
            False,
            self.device,
            by=self.by,
            drawn_from=drawn_from,
            keep_network=self.keep_networks,
        )
        return read_one(path)

    def train_fresh(self, student: str, count: int, drawn_from: str) -> list[VerifiedRecord]:
        """Records of `count` students on the seeds that follow from the payload and the commit."""
        first = first_fresh_seed(self.sha256, drawn_from)
        return [self.train(student, seed, drawn_from) for seed in range(first, first + count)]

    def made(self, record: VerifiedRecord) -> bool:
        """Whether an earlier call made this record here and pushed it."""
        path = path_of(self.results, record.record)
        return path.is_file() and path.read_bytes() == record.path.read_bytes()

    def commit(self, where: str, draw: Callable[[], str]) -> str:
        """The commit that fresh seeds follow from. `draw` makes it once for each payload, so that nobody draws until they suit.

        where: the id of the results repo; "" for none.
        """
        path = self.folder / f"drawn-from-{where.replace('/', '--')}"
        if not path.is_file():
            commit = draw()
            write_whole(path, commit.encode())
        return path.read_text()


def copied(records: Sequence[VerifiedRecord], results: Path) -> list[Path]:
    """Copies records into a results folder, which nothing is read from. Raises ValueError if it has other ones."""
    paths = []
    for one in records:
        path = path_of(results, one.record)
        for source, target in ((one.path.with_suffix(PREDICTIONS), path.with_suffix(PREDICTIONS)), (one.path, path)):
            data = source.read_bytes()
            if target.exists() and target.read_bytes() != data:
                raise ValueError(
                    f"{target} is not the record that this machine made, {source}: name another folder with --reruns"
                )
            write_whole(target, data)
        paths.append(path)
    return paths


def compared(
    claimed: Sequence[VerifiedRecord], own: Sequence[VerifiedRecord], of_student: Sequence[VerifiedRecord], store: Store
) -> Comparison:
    """of_student: claimed records of all seeds of this student."""
    first = {one.record.seed: one.hits for one in sorted(of_student, key=lambda one: one.record.date, reverse=True)}
    hits, own_hits = ([one.hits for one in records] for records in (claimed, own))
    videos = tested_videos(store)
    return Comparison(claimed, own, difference(hits, own_hits, videos["group"], videos["label"], list(first.values())))
