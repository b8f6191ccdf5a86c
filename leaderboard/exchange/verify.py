"""`vddbench verify`: a maintainer checks a submission, evaluates claimed cells again on their own machine and compares.

A claim is verified unless it is above the maintainer's own result by more than the 95 % interval of the difference allows. The
maintainer's own records are pushed to the pull request, and exactly what was verified is merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vddbench import hub
from vddbench.data.store import Store
from vddbench.evaluation.evaluate import ReadySubmission, open_ready
from vddbench.leaderboard.entry import MIN_SEEDS
from vddbench.leaderboard.exchange import mirror, ownership, payload_download
from vddbench.leaderboard.exchange.merge import merged, pushed
from vddbench.leaderboard.exchange.proposal import Proposal, copy, proposal, refusal
from vddbench.leaderboard.exchange.rerun import (
    Comparison,
    VerifiedRecord,
    check_comparable,
    compared,
    records_in,
    run_again,
)
from vddbench.leaderboard.maintainers import MAINTAINERS
from vddbench.records.files import path_of
from vddbench.submissions.manifest import read_manifest
from vddbench.submissions.submission import folder_of
from vddbench.system.device import chosen_device
from vddbench.system.files import check_writable
from vddbench.system.progress import say


@dataclass(frozen=True)
class Claims:
    """A submission that passed the checks, its new records, and main's records that can be compared with them."""

    scored: ReadySubmission
    new: list[VerifiedRecord]
    old: list[VerifiedRecord]

    def of_student(self, student: str) -> list[VerifiedRecord]:
        """The first record of each seed, new seeds first: these are evaluated again."""
        first: dict[int, VerifiedRecord] = {}
        for records in (self.new, self.old):
            for claim in sorted(records, key=lambda one: (one.record.seed, one.record.date)):
                if claim.record.student == student:
                    first.setdefault(claim.record.seed, claim)
        return list(first.values())


def verify_pull_request(
    number: int,
    repo: hub.Repo,
    *,
    count: int,
    submissions: Path,
    into: Path,
    then: Literal["nothing", "push", "merge"],
    echo: Callable[[str], None],
    device: torch.device | None = None,
) -> list[Path]:
    """Returns the maintainer's records, in `into/NUMBER/own`. Raises ValueError if the pull request is refused or not verified.

    count: seeds of each student to evaluate again. then: what to do if it is verified; "merge" pushes first and merges exactly
    what was verified.
    """
    me, own = hub.whoami(), into / str(number) / "own"
    check_writable(own)
    proposed = proposal(repo, number)
    if then != "nothing" and me not in proposed.maintainers:
        raise PermissionError(
            f"{me} is not in {MAINTAINERS} of {repo}, so re-runs by {me} verify nothing; `vddbench publish` "
            "adds the name of whoever runs it"
        )
    folder = copy(proposed, into / str(number))
    say(f"{proposed} by {proposed.author}: {len(proposed.added)} new files of {proposed.cell}, copied to {folder}")
    claims = claims_of(proposed, folder, submissions, own, me)
    made = verified(claims, count, own, me, chosen_device(device), echo)
    if then != "nothing":
        sha = pushed(proposed, made, echo)
        if then == "merge":
            echo(merged(proposed, sha))
        else:
            echo(f"to merge it: `vddbench verify {number} --merge`, or check that its newest commit is {sha}")
    return [one.path for one in made]


def verify_folder(
    path: Path,
    *,
    by: str,
    count: int,
    results: Path,
    own: Path,
    echo: Callable[[str], None],
    device: torch.device | None = None,
) -> list[Path]:
    """Verifies a submission's folder with its records in `results`; own records go to the results folder `own`."""
    folder = folder_of(path)
    manifest = read_manifest(folder)
    check_writable(own)
    records, refused = records_in(results, manifest.cell)
    claimed = [one for one in records if one.record.by is None]
    if not claimed and not refused:
        raise FileNotFoundError(f"no record of {manifest.cell} in {results}; make some first: vddbench evaluate {path}")
    claims = Claims(open_ready(folder), claimed, [])
    check_claims(claims, refused)
    return [one.path for one in verified(claims, count, own, by, chosen_device(device), echo)]


def claims_of(proposed: Proposal, folder: Path, submissions: Path, own: Path, me: str) -> Claims:
    """Checks everything that needs no training. Raises ValueError with every problem."""
    manifest = payload_download.manifest_at(folder / proposed.manifest)
    if problems := ownership.new_submission_problems(proposed, manifest):
        raise refusal("refused, nothing was trained:", problems)
    store = Store.open(manifest.task.dataset)
    local = payload_download.local(submissions, manifest.task, manifest.folder, manifest.sha256)
    if local is None or proposed.manifest in proposed.added:  # check the set that everybody will download
        local = payload_download.fetch(manifest, folder / payload_download.SETS, store.spec)
    records, problems = records_in(folder / mirror.RECORDS, proposed.cell)
    paths = {(folder / path).resolve(): path for path in proposed.added}
    new = [(paths[one.path], one) for one in records if one.path in paths and not _is_mine(one, own, me)]
    on_main = [one for one in records if one.path not in paths]
    problems += ownership.record_problems(proposed, new, on_main, manifest)
    problems += [f"{path} has no record beside it" for path in _orphans(proposed)]
    if not new and proposed.manifest not in proposed.main.files:
        problems.append("it has no new record")
    scored = open_ready(local)
    old = [one for one in on_main if one.record.by is None and _is_comparable(scored, one)]
    claims = Claims(scored, [one for _, one in new], old)
    check_claims(claims, problems)
    return claims


def _is_mine(pushed_record: VerifiedRecord, own: Path, me: str) -> bool:
    """Whether this machine made the record and an earlier call pushed it."""
    made = path_of(own, pushed_record.record)
    return pushed_record.record.by == me and made.is_file() and made.read_bytes() == pushed_record.path.read_bytes()


def _orphans(proposed: Proposal) -> list[str]:
    """Predictions without a record."""
    others = [path for path in proposed.added if path.startswith(f"{mirror.RECORDS}/") and not path.endswith(".json")]
    return [path for path in others if f"{path.rpartition('.')[0]}.json" not in proposed.head.files]


def _is_comparable(scored: ReadySubmission, record: VerifiedRecord) -> bool:
    try:
        check_comparable(scored, record)
    except (ValueError, LookupError):  # LookupError: an unknown student
        return False
    return True


def check_claims(claims: Claims, problems: Iterable[str]) -> None:
    """Raises ValueError with these problems and every new record that cannot be compared."""
    problems = list(problems)
    for claim in claims.new:
        try:
            check_comparable(claims.scored, claim)
        except (ValueError, LookupError) as error:
            problems.append(str(error))
    if problems:
        raise refusal("refused, nothing was trained:", problems)


def verified(
    claims: Claims, count: int, own: Path, by: str, device: torch.device, echo: Callable[[str], None]
) -> list[VerifiedRecord]:
    """Trains the first `count` claimed seeds of each student again. Raises ValueError if a claim is not verified."""
    students = sorted({one.record.student for one in claims.new})
    if not students:
        echo("no new record, nothing to train: the set at its pinned commit is the one that was evaluated")
    made, wrong = [], []
    for student in students:
        claimed = claims.of_student(student)
        again = claimed[:count]
        records = [run_again(claims.scored, claim, own, by, device) for claim in again]
        comparison = compared(again, records, claimed)
        for line in comparison.lines():
            echo(line)
        if problem := _problem(student, comparison):
            wrong.append(problem)
        made += records
    if wrong:
        raise ValueError(f"not verified: {'; '.join(wrong)}; nothing was pushed, own records are in {own}")
    if made:
        echo(f"verified: {len(made)} trained again, own records are in {own}")
    return made


def _problem(student: str, comparison: Comparison) -> str:
    """Why a claim is not verified; empty if it is."""
    if comparison.apart.low > 0:
        return f"{student}: the claim is too high, {comparison.interval()}"
    if not comparison.is_alike and (len(comparison.own) < MIN_SEEDS or np.isnan(comparison.apart.low)):
        return (
            f"{student}: {len(comparison.own)} students with other answers are too few to compare; needed: {MIN_SEEDS}, "
            f"so use --seeds {MIN_SEEDS} and a submission with as many students"
        )
    return ""
