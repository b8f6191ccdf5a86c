"""What a pull request or a folder of records claims, examined before anything is trained: all that needs no student."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vddbench import hub
from vddbench.data.store import Store
from vddbench.evaluation.evaluate import Scored, open_scored
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.exchange import ownership as claims
from vddbench.leaderboard.exchange import payload_download as sets
from vddbench.leaderboard.exchange.proposal import Proposal, refusal
from vddbench.leaderboard.exchange.rerun import One, check_comparable, records_in
from vddbench.leaderboard.exchange.sampling import Claimed
from vddbench.leaderboard.reviews import folder_of, parsed, reruns, reviews
from vddbench.records.record import Review
from vddbench.spec import Manifest
from vddbench.submissions.check import check


def of_pull_request(found: Proposal, folder: Path, submissions: Path, results: Path, me: str) -> Claimed:
    """Raises ValueError with everything that is wrong in it."""
    manifest = sets.manifest_at(folder / found.manifest)
    refused = claim_problems(found, manifest, me)
    if refused:
        raise refusal("refused, nothing was trained:", refused)
    store = Store.open(manifest.task.dataset)
    own = sets.local(submissions, manifest.task, manifest.folder, manifest.sha256)
    if own is None or found.manifest in found.added:  # others will fetch what a new manifest pins
        own = sets.fetch(manifest, folder / sets.SETS, store.spec)
    every, refused = records_in(folder / mirror.RECORDS, found.cell)
    again, told = check_reviews(found, folder, results, refused)
    later = reruns(folder / mirror.REVIEWS, found.cell)
    paths = {(folder / path).resolve(): path for path in found.added}
    new = [(paths[each.path], each) for each in every if each.path in paths and each.digest not in again]
    old = [each for each in every if each.path not in paths and each.digest not in again]
    refused += claims.record_problems(found, new, old, told)
    refused += [f"{path} has no record beside it" for path in orphans(found)]
    if not new and found.manifest not in found.main.files:
        refused.append("it has no new record")
    scored = scored_after_check(own)
    claims_made = [each for _, each in new]
    known = claims_made + [each for each in _comparable(scored, old) if each.digest not in later]
    claimed = Claimed(scored, claims_made, known, later)
    check_records(claimed, refused)
    return claimed


def claim_problems(found: Proposal, manifest: Manifest, me: str) -> list[str]:
    """Of the names that the pull request takes; none are when it adds to a submission that main has."""
    if found.manifest not in found.added:
        return []
    board, by_maintainer = found.repo, found.author == me and hub.may_write(found.repo)
    owner = claims.owner_of(manifest)
    problems = claims.name_problems(board, found.main, manifest, owner, by_maintainer=by_maintainer)
    return [*problems, *claims.set_problems(manifest, found.author)]


def orphans(found: Proposal) -> list[str]:
    """Predictions without their record."""
    npz = [path for path in found.added if path.endswith(".npz")]
    return [path for path in npz if path.removesuffix(".npz") + ".json" not in found.there.files]


def _comparable(scored: Scored, records: Iterable[One]) -> list[One]:
    """Those of main that were made on this store and protocol."""
    found = []
    for each in records:
        try:
            check_comparable(scored, each)
        except (ValueError, LookupError):
            continue
        found.append(each)
    return found


def scored_after_check(folder: Path) -> Scored:
    """Raises ValueError with every reason for which the submission is refused."""
    report = check(folder)
    if report.reasons:
        raise ValueError("\n".join([f"{folder} is refused:", *report.reasons]))
    return open_scored(folder)


def check_records(claimed: Claimed, refused: Iterable[str]) -> None:
    """Raises ValueError with all that disagrees, before anything is trained."""
    problems = list(refused)
    for each in claimed.new:
        try:
            check_comparable(claimed.scored, each)
        except (ValueError, LookupError) as error:  # LookupError: a student that is not known here
            problems.append(str(error))
    if problems:
        raise refusal("refused, nothing was trained:", problems)


def check_reviews(
    found: Proposal, folder: Path, results: Path, refused: list[str]
) -> tuple[set[str], list[tuple[str, Review]]]:
    """(sha256 of the records that reviews made here call re-runs, the author's reviews by their paths).

    What is wrong with new reviews joins `refused`: two records that don't bear one out, somebody else's name, "verified" where
    this machine knows nothing of it.
    """
    new = [str((folder / path).resolve()) for path in found.added if path.startswith(f"{mirror.REVIEWS}/")]
    _, wrong = reviews([folder / mirror.RECORDS])
    refused += [line for line in wrong if any(path in line for path in new)]
    mine: set[str] = set()
    theirs: list[tuple[str, Review]] = []
    for path in (path for path in found.added if path.startswith(f"{mirror.REVIEWS}/")):
        try:
            review, text = parsed(folder / path)
        except (ValueError, OSError):
            continue  # named above
        here = folder_of(results) / Path(path).relative_to(mirror.REVIEWS)
        if here.is_file() and here.read_bytes() == text:
            mine.add(review.rerun)
        elif review.kind == "verified":
            refused.append(f"{path} says it was verified by {review.by}; not here. Maintainers add such reviews themselves")
        elif review.by != found.author:
            refused.append(f"{path} is by {review.by}; the pull request is by {found.author}")
        else:
            theirs.append((path, review))
    return mine, theirs
