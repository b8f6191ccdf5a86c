"""`vddbench verify`: a maintainer's look at a submission. Everything that can be measured is; then students that this machine
draws by lot are trained again, and reviews say so when each comes out where it is due and all together are what was claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from vddbench import hub
from vddbench.leaderboard.exchange import mirror, reproduce
from vddbench.leaderboard.exchange import ownership as claims
from vddbench.leaderboard.exchange.proposal import Proposal, copy, manifest_of, proposal, refusal
from vddbench.leaderboard.exchange.rerun import One, records_in, rerun
from vddbench.leaderboard.exchange.review_checks import check_records, claim_problems, of_pull_request, scored_after_check
from vddbench.leaderboard.exchange.sampling import FEWEST, UNSEEN, Claimed, Judged, drawn, judged_by_student
from vddbench.leaderboard.exchange.verdict import Compared, reviewed, verdict, weighed, write_review
from vddbench.leaderboard.reviews import folder_of, reruns
from vddbench.records.files import RERUN
from vddbench.submissions.manifest import read_manifest
from vddbench.submissions.submission import folder_of as submission_folder
from vddbench.system.device import best_device
from vddbench.system.files import check_writable
from vddbench.system.progress import say


def verify_pull_request(
    number: int,
    repo: hub.Repo,
    *,
    count: int,
    submissions: Path,
    results: Path,
    into: Path,
    push: bool,
    merge: bool = False,
    echo: Callable[[str], None],
    device: torch.device | None = None,
) -> list[Path]:
    """Returns the reviews. Raises ValueError when the pull request is refused or a student came out elsewhere.

    merge: what was verified and pushed, and nothing else.
    """
    me = hub.whoami()
    check_writable(results)
    found = proposal(repo, number)
    folder = copy(found, into)
    say(f"pull request {number} by {found.author}: {len(found.added)} new files of {found.cell}, copied to {folder}")
    claimed = of_pull_request(found, folder, submissions, results, me)
    compared = run_again(claimed, count, me, results, device or best_device(), echo)
    written = concluded(compared, me, results, echo)
    if push or merge:
        sha, told = pushed(found, compared, written, results)
        echo(
            told
            if merge
            else f"{told}; merge it with `vddbench verify {number} --merge`, or see that its newest commit is {sha}"
        )
        if merge:
            echo(merged(found, sha, me))
    return written


def verify_submission(
    path: Path, *, by: str, count: int, results: Path, echo: Callable[[str], None], device: torch.device | None = None
) -> list[Path]:
    """The same for a folder and its records in `results`."""
    folder = submission_folder(path)
    manifest = read_manifest(folder)
    cell = manifest.cell
    check_writable(results)
    every, refused = records_in(results, cell)
    again = reruns(folder_of(results), cell)
    records = [each for each in every if not RERUN.fullmatch(each.path.stem) and each.digest not in again]
    if not records and not refused:
        raise FileNotFoundError(f"no record of {cell} in {results}; make some first: vddbench evaluate {path}")
    claimed = Claimed(scored_after_check(folder), records, records)
    check_records(claimed, refused)
    return concluded(run_again(claimed, count, by, results, device or best_device(), echo), by, results, echo)


def run_again(
    claimed: Claimed, count: int, me: str, results: Path, device: torch.device, echo: Callable[[str], None]
) -> list[Compared]:
    """Trains what was drawn and says what came of each."""
    compared = []
    students = {each.digest: each.record for each in claimed.known}
    for each in drawn(claimed, count, me, results):
        after = reviewed(each, "verified", me, results) or rerun(claimed.scored, each, results, device)
        compared.append(weighed(each, after, students, claimed.reruns))
        for line in verdict(compared[-1]):
            echo(line)
    return compared


def concluded(compared: Sequence[Compared], me: str, results: Path, echo: Callable[[str], None]) -> list[Path]:
    """The reviews, when the re-runs bear the claims out. Raises ValueError when they don't."""
    if not compared:
        echo("no new record, nothing to train: the set at its pinned commit is the one that was evaluated")
        return []
    by_student = judged_by_student(compared)
    for student, (found, several) in by_student.items():
        echo(f"{student}: {_together(found, several)}")
    wrong = [line for found, several in by_student.values() if not found.holds for line in _why_not(found, several)]
    if wrong:
        raise ValueError(f"not verified: {'; '.join(wrong)}; no review written")
    written = [write_review(each, "verified", me, results) for each in compared]
    echo(f"verified: {len(compared)} students run again, all came out; {len(written)} reviews in {folder_of(results)}")
    return written


def _together(found: Judged, several: Sequence[Compared]) -> str:
    before, after = (sum(each.record.top1 for each in side) / len(several) for side in _sides(several))
    bound = "" if found.bound is None else f", at most {found.bound:.1%} apart when both are honest"
    same = ", all identical to the bit" if all(each.identical for each in several) else bound
    return f"mean of {len(several)} students claimed {before:.1%}, run again {after:.1%}{same}"


def _sides(several: Sequence[Compared]) -> tuple[list[One], list[One]]:
    return [each.before for each in several], [each.after for each in several]


def _why_not(found: Judged, several: Sequence[Compared]) -> list[str]:
    lines = [
        f"{each.before.name}: {each.before.record.top1:.2%} became {each.after.record.top1:.2%}"
        for each in (several[i] for i in found.outside)
    ]
    student = several[0].before.record.student
    if found.bound is None:
        lines.append(
            f"{student}: {len(several)} re-runs that are not identical to the bit tell nothing of their spread, {FEWEST} do; "
            f"run more: --seeds {FEWEST}, of a submission with as many students"
        )
    elif abs(found.difference) > found.bound:
        lines.append(f"{student}: {_together(found, several)}")
    elif not found.tells and not lines:
        lines.append(
            f"{student}: {len(several)} re-runs spread so far that claims {found.bound:.1%} off pass (allowed: {UNSEEN:.0%});"
            f" run more: --seeds {2 * len(several)}, of a submission with as many students"
        )
    return lines


def pushed(found: Proposal, compared: Sequence[Compared], written: Sequence[Path], results: Path) -> tuple[str, str]:
    """Commits re-runs and reviews to the pull request's branch, when it is still what was verified.

    Returns (its newest commit, what was done). Raises ValueError.
    """
    add: dict[str, hub.Content] = {}
    for each, review in zip(compared, written, strict=True):
        add |= reproduce.files(each, review, results)
    add = {path: file for path, file in add.items() if path not in found.there.files}
    where = f"{found.repo.url}/discussions/{found.number}"
    if not add:
        return found.there.sha, f"{where} has these reviews already"
    try:
        done = hub.commit(found.repo, add, f"Verify {found.cell}", parent=found.there.sha, revision=found.revision)
    except hub.StaleParentError:
        raise _changed(found, "nothing pushed") from None
    return done.sha, f"{where}: pushed {len(add)} files"


def _changed(found: Proposal, done: str) -> ValueError:
    return ValueError(f"pull request {found.number} of {found.repo} has changed since it was verified; {done}: verify it again")


def merged(found: Proposal, sha: str, me: str) -> str:
    """Merges the pull request when its newest commit is still `sha` and main, which may have moved, still allows it. Raises
    ValueError, also when somebody was quicker than the merge."""
    now = proposal(found.repo, found.number)
    if now.there.sha != sha:
        raise _changed(found, "not merged")
    if now.main.sha != found.main.sha and (problems := _problems_since(found, now, me)):
        raise refusal("not merged, main has moved since:", problems)
    main = hub.merge(found.repo, found.number)
    if hub.listing(found.repo, found.revision).sha != sha:
        raise ValueError(
            f"pull request {found.number} of {found.repo} was pushed to while it was merged; its commits after {sha[:8]} were "
            "not verified: look at them, and take them back"
        )
    return f"merged as {main[:8]}"


def _problems_since(found: Proposal, now: Proposal, me: str) -> list[str]:
    """What main did not say when the pull request was verified."""
    new = [path for path in found.added if path.startswith(f"{mirror.RECORDS}/")]
    since = sorted(claims.taken(new, now.main) - claims.taken(new, found.main))
    problems = [f"main has a record of {path} by now" for path in since]
    return problems + claim_problems(now, manifest_of(now.repo, now.manifest, now.there), me)
