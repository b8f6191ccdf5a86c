"""Pushes a maintainer's re-runs to a pull request, and merges it if its newest commit is the one that was verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vddbench import hub
from vddbench.leaderboard.exchange import mirror, ownership, payload_download
from vddbench.leaderboard.exchange.proposal import Proposal, manifest_of, proposal, refusal
from vddbench.leaderboard.exchange.rerun import VerifiedRecord
from vddbench.spec import Submission
from vddbench.submissions.manifest import DATA


def pushed(proposed: Proposal, own: Sequence[VerifiedRecord], echo: Callable[[str], None]) -> str:
    """Commits the maintainer's records to the pull request's branch; returns its newest commit.

    Raises ValueError if somebody pushed since it was verified.
    """
    add: dict[str, hub.Content] = {}
    for one in own:
        files = mirror.files_of(one.path, one.record)
        add |= {path: file for path, file in files.items() if path not in proposed.head.files}
    where = f"{proposed.repo.url}/discussions/{proposed.number}"
    if not add:
        echo(f"{where} has these re-runs already")
        return proposed.head.sha
    try:
        done = hub.commit(proposed.repo, add, f"Verify {proposed.cell}", parent=proposed.head.sha, revision=proposed.revision)
    except hub.StaleParentError:
        raise _changed(proposed, "nothing pushed") from None
    echo(f"{where}: pushed {len(add)} files")
    return done.sha


def _changed(proposed: Proposal, done: str) -> ValueError:
    return ValueError(f"{proposed} has changed since it was verified; {done}: verify it again")


def merged(proposed: Proposal, sha: str) -> str:
    """Merges the pull request if its newest commit is still `sha` and main, which may have moved, still allows it.

    Raises ValueError, also if somebody pushed during the merge.
    """
    now = proposal(proposed.repo, proposed.number)
    if now.head.sha != sha:
        raise _changed(proposed, "not merged")
    if now.main.sha != proposed.main.sha and (problems := _problems_since(proposed, now)):
        raise refusal("not merged, main has moved since:", problems)
    main = hub.merge(proposed.repo, proposed.number)
    if hub.listing(proposed.repo, proposed.revision).sha != sha:
        raise ValueError(
            f"{proposed} was pushed to while it was merged; its commits after {sha[:8]} were not verified: look at them, and "
            "revert them"
        )
    return f"merged as {main[:8]}"


def copied_to_organisation(proposed: Proposal, submission: Submission) -> str:
    """Copies the payload to the organisation of the results repo, so that it can be verified again if its author deletes it."""
    copies = payload_download.copies_of(proposed.repo)
    path = payload_download.copy_path(submission.manifest.sha256)
    hub.create(copies)
    if path not in hub.listing(copies).files:
        hub.commit(copies, {path: submission.path / DATA}, f"Copy the payload of {proposed.cell}")
    return f"the payload is in {copies.url} as {path}"


def _problems_since(proposed: Proposal, now: Proposal) -> list[str]:
    """Problems that the newer main causes and the main at the time of the check did not."""
    new = [path for path in proposed.added if path.startswith(f"{mirror.RECORDS}/")]
    since = sorted(ownership.taken(new, now.main) - ownership.taken(new, proposed.main))
    problems = [f"main now has a record of {path}" for path in since]
    return problems + ownership.new_submission_problems(now, manifest_of(now.repo, now.manifest, now.head))
