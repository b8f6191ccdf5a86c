"""`vddbench reproduce RECORD`: the student of a record, trained again: does its number come out? Makes a record, a review."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from vddbench import hub
from vddbench.evaluation.evaluate import open_scored
from vddbench.leaderboard.exchange import card, mirror
from vddbench.leaderboard.exchange import payload_download as sets
from vddbench.leaderboard.exchange.rerun import One, check_comparable, one, records_in, rerun
from vddbench.leaderboard.exchange.verdict import Compared, reviewed, user_name, verdict, weighed, write_review
from vddbench.leaderboard.reviews import folder_of, reruns
from vddbench.records.files import ADDRESS_DIGITS
from vddbench.records.record import Record
from vddbench.spec import Manifest
from vddbench.submissions.manifest import MANIFEST
from vddbench.submissions.submission import spec_of
from vddbench.system.device import best_device
from vddbench.system.files import check_writable


def reproduce(
    path: Path,
    *,
    submissions: Path,
    results: Path,
    by: str | None,
    push: bool,
    results_repo: str | None,
    echo: Callable[[str], None],
    device: torch.device | None = None,
) -> Path:
    """Says what came out and returns the review's path. Repeated, it goes on where it was, and trains nothing twice.

    Raises ValueError before anything is trained when the record or its submission can't be compared with what is here.
    """
    if push and results_repo is None:
        raise LookupError("--push: to which --results-repo ORG/vddbench-results?")
    claim = one(path)
    me = user_name(by) if by is not None else _whoami()
    if push and me != hub.whoami():
        raise LookupError(f"--by {me!r} and --push: a pull request is opened by {hub.whoami()}; leave --by out")
    if push and results_repo is not None:
        check_published(claim, hub.Repo(results_repo))
    check_writable(results)
    scored = open_scored(submission_of(claim, submissions))
    check_comparable(scored, claim)
    after = reviewed(claim, "reproduced", me, results) or rerun(scored, claim, results, device or best_device())
    root = claim.path.parents[3]
    known, _ = records_in(root, claim.cell)
    found = weighed(claim, after, {each.digest: each.record for each in known}, reruns(folder_of(root), claim.cell))
    for line in verdict(found):
        echo(line)
    review = write_review(found, "reproduced", me, results)
    if push and results_repo is not None:
        echo(propose(found, review, results, results_repo))
    return review


def _whoami() -> str:
    try:
        return hub.whoami()
    except (PermissionError, ConnectionError) as error:
        raise type(error)(f"{error}; or say who you are with --by NAME") from None


def submission_of(claim: One, submissions: Path) -> Path:
    """Where the submission of a record lies: among `submissions`, or of a record of a copy of a results repo among its sets,
    fetched where it isn't there yet. Raises FileNotFoundError saying where it was looked for."""
    record, (name, _, _) = claim.record, claim.path.parents[1].name.partition("@")
    copy = claim.path.parents[4]  # of a results repo, perhaps
    for root in (submissions, copy / sets.SETS / record.submission_sha256[:8]):
        if folder := sets.local(root, record.task, name, record.submission_sha256):
            return folder
    manifest = copy / mirror.SUBMISSIONS / claim.cell / MANIFEST
    if not manifest.is_file():
        raise FileNotFoundError(
            f"no submission with sha256 {record.submission_sha256[:16]} in {submissions / str(record.task) / name}, and no "
            f"{manifest} that says where it is: --submissions DIR, or `vddbench pull` and a record of published/records"
        )
    return sets.fetch(_of(record, manifest), copy / sets.SETS, spec_of(record.task.dataset))


def _of(record: Record, path: Path) -> Manifest:
    manifest = sets.manifest_at(path)
    if manifest.sha256 != record.submission_sha256:
        raise ValueError(f"{path} is of another submission: sha256 {manifest.sha256[:16]}, not {record.submission_sha256[:16]}")
    return manifest


def check_published(claim: One, repo: hub.Repo) -> None:
    """Raises ValueError, before anything is trained, when the results repo does not have this record."""
    if (due := next(iter(mirror.files_of(claim.path, claim.record)))) not in hub.listing(repo).files:
        raise ValueError(f"{repo} has no {due}: only published records are reviewed there; `vddbench submit` first")


def propose(found: Compared, review: Path, results: Path, results_repo: str) -> str:
    """A pull request with the re-run and its review; what came of it."""
    repo = hub.Repo(results_repo)
    there = hub.listing(repo)
    add = {path: file for path, file in files(found, review, results).items() if path not in there.files}
    if not add:
        return f"{repo.url} has this reproduction already"
    title = f"Reproduce {found.before.name}.{found.before.digest[:ADDRESS_DIGITS]}"
    lines = "\n".join(described(found))
    text = f"A re-run of a published record:\n\n{card.fenced(lines)}\n"  # a stranger's text stays text
    return f"{repo.url}/discussions/{hub.pull_request(repo, add, title, text).pull_request}"


def described(found: Compared) -> list[str]:
    """The verdict for others, without the folders of this machine."""
    return [line.removesuffix(f"  {found.before.path}").removesuffix(f"  {found.after.path}") for line in verdict(found)]


def files(found: Compared, review: Path, results: Path) -> dict[str, hub.Content]:
    """Of the re-run and its review, by their paths in a results repo."""
    return {
        **mirror.files_of(found.after.path, found.after.record),
        f"{mirror.REVIEWS}/{review.relative_to(folder_of(results)).as_posix()}": review,
    }
