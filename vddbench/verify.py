"""`vddbench verify`: a maintainer's look at a submission. Everything that can be measured is; then students that this machine
draws by lot are trained again, and reviews say so when each comes out where it is due.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from leaderboard.reviews import folder_of, reviews
from vddbench import hub, mirror, reproduce, sets
from vddbench.atomic import try_to_write
from vddbench.check import check
from vddbench.compared import Compared, compare, reviewed, verdict, write_review
from vddbench.evaluate import Scored, open_scored
from vddbench.manifest import read_manifest
from vddbench.progress import say
from vddbench.proposal import Proposal, copy, proposal
from vddbench.records import RERUN
from vddbench.rerun import One, begin, check_comparable, marker, records_in, rerun
from vddbench.spec import Record, Review, Task
from vddbench.store import Store
from vddbench.submission import folder_of as submission_folder
from vddbench.train import best_device

PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Claimed:
    """A submission that was checked, the records to draw from, and all whose scores say where another is due."""

    scored: Scored
    records: list[One]
    students: list[Record]


def verify_pull_request(
    number: int,
    repo: hub.Repo,
    *,
    count: int,
    submissions: Path,
    results: Path,
    into: Path,
    push: bool,
    echo: Callable[[str], None],
    device: torch.device | None = None,
) -> list[Path]:
    """Returns the reviews. Raises ValueError when the pull request is refused or a student came out elsewhere."""
    me = hub.whoami()
    try_to_write(results)
    found = proposal(repo, number)
    folder = copy(found, into)
    say(f"pull request {number} by {found.author}: {len(found.added)} new files of {found.cell}, copied to {folder}")
    claimed = of_pull_request(found, folder, submissions, results)
    compared = run_again(claimed, count, me, results, device or best_device(), echo)
    written = concluded(compared, me, results, echo)
    if push:
        echo(pushed(found, compared, written, results))
    return written


def verify_submission(
    path: Path, *, by: str, count: int, results: Path, echo: Callable[[str], None], device: torch.device | None = None
) -> list[Path]:
    """The same for a folder and its records in `results`."""
    folder = submission_folder(path)
    manifest = read_manifest(folder)
    cell = f"{manifest.task}/{manifest.folder}@{manifest.sha256[:8]}"
    try_to_write(results)
    every, refused = records_in(results, cell)
    again = _reruns(folder_of(results))
    records = [each for each in every if not RERUN.fullmatch(each.path.stem) and each.digest not in again]
    if not records and not refused:
        raise FileNotFoundError(f"no record of {cell} in {results}; make some first: vddbench evaluate {path}")
    claimed = Claimed(scored_after_check(folder), records, [each.record for each in records])
    check_records(claimed, refused)
    return concluded(run_again(claimed, count, by, results, device or best_device(), echo), by, results, echo)


def of_pull_request(found: Proposal, folder: Path, submissions: Path, results: Path) -> Claimed:
    """Raises ValueError with everything that is wrong in it."""
    manifest = sets.manifest_at(folder / found.manifest)
    store = Store.open(Task.parse(manifest.task).dataset)
    own = sets.local(submissions, manifest.task, manifest.folder, manifest.sha256)
    if own is None:
        own = sets.fetch(manifest, folder / sets.SETS, store.spec)
    elif manifest.payload is not None:
        sets.pinned(manifest)  # others will fetch it
    every, refused = records_in(folder / mirror.RECORDS, found.cell)
    again = check_reviews(found, folder, results, refused)
    new = {(folder / path).resolve() for path in found.added}
    orphans = [
        path for path in found.added if path.endswith(".npz") and path.removesuffix(".npz") + ".json" not in found.there.files
    ]
    refused += [f"{path} has no record beside it" for path in orphans]
    records = [each for each in every if each.path in new and each.digest not in again]
    claimed = Claimed(scored_after_check(own), records, [each.record for each in every if each.digest not in again])
    if not records:
        refused.append("it has no new record")
    check_records(claimed, refused)
    return claimed


def scored_after_check(folder: Path) -> Scored:
    """Raises ValueError with every reason for which the submission is refused."""
    report = check(folder)
    if report.reasons:
        raise ValueError("\n".join([f"{folder} is refused:", *report.reasons]))
    return open_scored(folder)


def check_records(claimed: Claimed, refused: Iterable[str]) -> None:
    """Raises ValueError with all that disagrees, before anything is trained."""
    problems = list(refused)
    for each in claimed.records:
        try:
            check_comparable(claimed.scored, each)
        except (ValueError, LookupError) as error:  # LookupError: a student that is not known here
            problems.append(str(error))
    if problems:
        shown = problems[:PROBLEMS_SHOWN] + [f"... and {len(problems) - PROBLEMS_SHOWN} more"] * (
            len(problems) > PROBLEMS_SHOWN
        )
        raise ValueError("\n".join(["refused, nothing was trained:", *(f"  {each}" for each in shown)]))


def check_reviews(found: Proposal, folder: Path, results: Path, refused: list[str]) -> set[str]:
    """sha256 of the records that reviews made here are of. What is wrong with reviews joins `refused`: of somebody else's name,
    or said to be verified while this machine knows nothing of it."""
    _, wrong = reviews([folder / mirror.RECORDS])
    refused += wrong
    mine = set()
    for path in (path for path in found.added if path.startswith(f"{mirror.REVIEWS}/")):
        text = (folder / path).read_bytes()
        try:
            review = Review.model_validate_json(text)
        except ValueError:
            continue  # named above
        here = folder_of(results) / Path(path).relative_to(mirror.REVIEWS)
        if here.is_file() and here.read_bytes() == text:
            mine.add(review.rerun)
        elif review.kind == "verified":
            refused.append(f"{path} says it was verified by {review.by}; not here. Maintainers add such reviews themselves")
        elif review.by != found.author:
            refused.append(f"{path} is by {review.by}; the pull request is by {found.author}")
    return mine


def _reruns(folder: Path) -> set[str]:
    found = set()
    for path in folder.glob("*/*@*/*/seed*.json"):
        try:
            found.add(Review.model_validate_json(path.read_bytes()).rerun)
        except ValueError:
            continue  # ranking names it
    return found


def drawn(claimed: Claimed, count: int, me: str, results: Path) -> list[One]:
    """Records by lot, of each student and seed the earliest; those that were drawn before stay, so that nobody draws until it
    fits. Noted before anything is trained."""
    cells: dict[tuple[str, int], One] = {}
    for each in sorted(claimed.records, key=lambda each: each.record.date, reverse=True):
        cells[each.record.student, each.record.seed] = each
    before = [each for each in cells.values() if marker(results, each).exists() or reviewed(each, "verified", me, results)]
    rest = [each for each in cells.values() if each not in before]
    more = random.SystemRandom().sample(rest, min(max(count - len(before), 0), len(rest)))
    for each in more:
        begin(results, each)
    return sorted([*before, *more], key=lambda each: each.name)


def run_again(
    claimed: Claimed, count: int, me: str, results: Path, device: torch.device, echo: Callable[[str], None]
) -> list[Compared]:
    """Trains what was drawn and says what came of each."""
    compared = []
    for each in drawn(claimed, count, me, results):
        after = reviewed(each, "verified", me, results) or rerun(claimed.scored, each, results, device)
        compared.append(compare(each, after, claimed.students))
        for line in verdict(compared[-1]):
            echo(line)
    return compared


def concluded(compared: Sequence[Compared], me: str, results: Path, echo: Callable[[str], None]) -> list[Path]:
    """The reviews, when every student came out where it is due. Raises ValueError when one did not."""
    outside = [each for each in compared if not each.inside]
    if outside:
        told = "; ".join(
            f"{each.before.name}: {each.before.record.top1:.2%} became {each.after.record.top1:.2%}"
            + (", and one student has no interval" if each.inside is None else "")
            for each in outside
        )
        raise ValueError(
            f"not verified: {len(outside)} of {len(compared)} re-runs are not where they are due ({told}); no review written"
        )
    written = [write_review(each, "verified", me, results) for each in compared]
    echo(f"verified: {len(compared)} students run again, all inside; {len(written)} reviews in {folder_of(results)}")
    return written


def pushed(found: Proposal, compared: Sequence[Compared], written: Sequence[Path], results: Path) -> str:
    """Commits re-runs and reviews to the pull request's branch, when it is still what was verified. Raises ValueError."""
    add: dict[str, hub.Content] = {}
    for each, review in zip(compared, written, strict=True):
        add |= reproduce.files(each, review, results)
    add = {path: file for path, file in add.items() if path not in found.there.files}
    if not add:
        return f"{found.repo.url}/discussions/{found.number} has these reviews already"
    try:
        hub.commit(found.repo, add, f"Verify {found.cell}", parent=found.there.sha, revision=found.revision)
    except hub.StaleParentError:
        raise ValueError(
            f"pull request {found.number} of {found.repo} has changed since it was verified; nothing pushed: verify it again"
        ) from None
    return f"{found.repo.url}/discussions/{found.number}: pushed {len(add)} files; merge it when you agree"
