"""`vddbench verify`: a maintainer checks a submission, trains students on fresh seeds on their own machine and compares.

Claims are verified unless they are above the maintainer's own result by more than the 95 % interval of the difference allows.
The maintainer's own records, by which tables rank, are pushed to the pull request, and exactly what was verified is merged.
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
from vddbench.evaluation.ready import ReadySubmission, open_ready
from vddbench.leaderboard.entry import MIN_SEEDS
from vddbench.leaderboard.exchange import draw, mirror, ownership, payload_download
from vddbench.leaderboard.exchange.merge import copied_to_organisation, merged, pushed
from vddbench.leaderboard.exchange.proposal import Proposal, copy, proposal, refusal
from vddbench.leaderboard.exchange.rerun import (
    Comparison,
    OwnRuns,
    VerifiedRecord,
    check_comparable,
    compared,
    copied,
    records_in,
)
from vddbench.leaderboard.maintainers import MAINTAINERS
from vddbench.records.fresh_seeds import first_fresh_seed
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
        """The first record of each seed, new seeds first: these are compared with the maintainer's own students."""
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
    """Returns the maintainer's records. Raises ValueError if the pull request is refused or not verified.

    count: students of each network to train on fresh seeds. into: folder of the copy of the pull request. then: what to do if
    it is verified; "merge" pushes first and merges exactly what was verified.
    """
    me = hub.whoami()
    check_writable(into)
    proposed = proposal(repo, number)
    if then != "nothing" and me not in proposed.maintainers:
        raise PermissionError(
            f"{me} is not in {MAINTAINERS} of {repo}, so students of {me} verify nothing; `vddbench publish` "
            "adds the name of whoever runs it"
        )
    folder = copy(proposed, into / str(number))
    say(f"{proposed} by {proposed.author}: {len(proposed.added)} new files of {proposed.cell}, copied to {folder}")
    opened = opened_set(proposed, folder, submissions)
    own = OwnRuns(opened, me, chosen_device(device))
    claims = claims_of(proposed, folder, own)
    if me in proposed.maintainers:
        commit = own.commit(proposed.repo.id, lambda: draw.on_main(proposed, own.sha256))
    else:
        commit = own.commit("", draw.here)
    made = verified(claims, count, own, commit, echo)
    if then != "nothing":
        sha = pushed(proposed, made, echo)
        if then == "merge":
            echo(copied_to_organisation(proposed, opened.submission))
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
    reruns: Path,
    echo: Callable[[str], None],
    device: torch.device | None = None,
) -> list[Path]:
    """Verifies a submission's folder: compares the claims in `results` with own students, whose records go to `reruns`.

    Of the folder only the manifest and the payload are read.
    """
    folder = folder_of(path)
    manifest = read_manifest(folder)
    check_writable(reruns)
    records, refused = records_in(results, manifest.cell)
    claimed = [one for one in records if one.record.by is None]
    if not claimed and not refused:
        raise FileNotFoundError(f"no record of {manifest.cell} in {results}; make some first: vddbench evaluate {path}")
    own = OwnRuns(open_ready(folder), by, chosen_device(device))
    claims = Claims(own.scored, claimed, [])
    check_claims(claims, refused)
    made = verified(claims, count, own, own.commit("", draw.here), echo)
    return copied(made, reruns)


def opened_set(proposed: Proposal, folder: Path, submissions: Path) -> ReadySubmission:
    """The distilled set of a pull request. Raises ValueError if the pull request may not add it, or if it is refused."""
    manifest = payload_download.manifest_at(folder / proposed.manifest)
    if problems := ownership.new_submission_problems(proposed, manifest):
        raise refusal("refused, nothing was trained:", problems)
    store = Store.open(manifest.task.dataset)
    local = payload_download.local(submissions, manifest.task, manifest.folder, manifest.sha256)
    if local is None or proposed.manifest in proposed.added:  # check the set that everybody will download
        copies = payload_download.copies_of(proposed.repo)
        local = payload_download.fetch(manifest, folder / payload_download.SETS, store.spec, copies)
    return open_ready(local)


def claims_of(proposed: Proposal, folder: Path, own: OwnRuns) -> Claims:
    """Checks everything else that needs no training. Raises ValueError with every problem."""
    scored = own.scored
    records, problems = records_in(folder / mirror.RECORDS, proposed.cell)
    paths = {(folder / path).resolve(): path for path in proposed.added}
    new = [(paths[one.path], one) for one in records if one.path in paths and not own.made(one)]
    on_main = [one for one in records if one.path not in paths]
    problems += ownership.record_problems(proposed, new, on_main, scored.submission.manifest)
    problems += [f"{path} has no record beside it" for path in _orphans(proposed)]
    if not new and proposed.manifest not in proposed.main.files:
        problems.append("it has no new record")
    old = [one for one in on_main if one.record.by is None and _is_comparable(scored, one)]
    claims = Claims(scored, [one for _, one in new], old)
    check_claims(claims, problems)
    return claims


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


def verified(claims: Claims, count: int, own: OwnRuns, commit: str, echo: Callable[[str], None]) -> list[VerifiedRecord]:
    """Trains `count` students of each claimed network on fresh seeds. Raises ValueError if the claims are not verified."""
    students = sorted({one.record.student for one in claims.new})
    if not students:
        echo("no new record, nothing to train: the set at its pinned commit is the one that was evaluated")
        return []
    echo(f"fresh seeds from {first_fresh_seed(own.sha256, commit)} on, which follow from the payload and {commit}")
    made, wrong = [], []
    for student in students:
        claimed = claims.of_student(student)
        records = own.train_fresh(student, count, commit)
        comparison = compared(claimed, records, claimed, claims.scored.store)
        for line in comparison.lines():
            echo(line)
        if problem := _problem(student, comparison):
            wrong.append(problem)
        made += records
    if wrong:
        raise ValueError(f"not verified: {'; '.join(wrong)}; nothing was pushed, own records are in {own.results}")
    echo(f"verified: {len(made)} students trained, own records are in {own.results}")
    return made


def _problem(student: str, comparison: Comparison) -> str:
    """Why claims are not verified; empty if they are."""
    if comparison.apart.low > 0:
        return f"{student}: the claim is too high, {comparison.interval()}"
    if np.isnan(comparison.apart.low):
        return f"{student}: {comparison.interval()}; use --seeds {MIN_SEEDS} or more"
    return ""
