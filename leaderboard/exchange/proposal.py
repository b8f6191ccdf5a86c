"""A pull request on a results repo, before anything in it is believed: what it changes, and a copy of what it brings.

Allowed are new records, reviews and the manifest of one submission, or the `payload` that a manifest of main lacks. Everything
else is listed and refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vddbench import hub
from vddbench.leaderboard.exchange import mirror
from vddbench.spec import Manifest
from vddbench.submissions.manifest import MANIFEST, MAX_MANIFEST_BYTES

MAX_FILES, MAX_BYTES = 2000, 2_000_000_000  # of one submission's records: 1,000 of 2 MB
PROBLEMS_SHOWN, LETTERS_SHOWN = 20, 500


@dataclass(frozen=True)
class Proposal:
    """A pull request that changes nothing but what it may."""

    repo: hub.Repo
    number: int
    author: str
    there: hub.Listing  # all files at its newest commit
    main: hub.Listing
    cell: str  # TASK/METHOD[-sN]@SHA8
    added: list[str]  # with a manifest that got its payload

    @property
    def revision(self) -> str:
        return f"refs/pr/{self.number}"

    @property
    def manifest(self) -> str:
        return f"{mirror.SUBMISSIONS}/{self.cell}/{MANIFEST}"


def refusal(about: str, problems: Sequence[str]) -> ValueError:
    """All that is wrong, a line each; of many the first ones. Text in them may be a stranger's."""
    shown = [" ".join(each.split())[:LETTERS_SHOWN] for each in problems[:PROBLEMS_SHOWN]]
    shown += [f"... and {len(problems) - PROBLEMS_SHOWN} more"] * (len(problems) > PROBLEMS_SHOWN)
    return ValueError("\n".join([about, *(f"  {each}" for each in shown)]))


def proposal(repo: hub.Repo, number: int) -> Proposal:
    """Raises ValueError with everything that the pull request may not change, LookupError when there is none."""
    told = hub.discussed(repo, number)
    if told.status not in {"open", "draft"}:
        raise ValueError(f"pull request {number} of {repo} is {told.status}; only open ones are verified")
    there = hub.listing(repo, f"refs/pr/{number}")
    base = hub.listing(repo, hub.parting(repo, there.sha))
    main = hub.listing(repo)
    changed = sorted(path for path in there.files if _is_changed(path, there, base, main))
    located = [path for path in changed if _got_its_payload(repo, path, there, main)]
    problems = [f"changed: {path}" for path in changed if path not in located] + list(_problems(there, base, main))
    added = sorted([*located, *(path for path in there.files if path not in base.files and path not in main.files)])
    cells = sorted({"/".join(path.split("/")[1:3]) for path in added if mirror.most_bytes(path) is not None})
    if len(cells) > 1:
        problems.append(f"of {len(cells)} submissions: {', '.join(cells[:PROBLEMS_SHOWN])}; allowed: one a pull request")
    if not added and not problems:
        problems.append("nothing is new")
    if problems:
        raise refusal(f"pull request {number} of {repo} is refused:", problems)
    return Proposal(repo, number, told.author, there, main, cells[0], added)


def _is_changed(path: str, there: hub.Listing, base: hub.Listing, main: hub.Listing) -> bool:
    before = base.files.get(path, main.files.get(path))
    return before is not None and there.files[path] not in {before, main.files.get(path)}


def _got_its_payload(repo: hub.Repo, path: str, there: hub.Listing, main: hub.Listing) -> bool:
    """A manifest of main that lacks `payload`, and the same one with it."""
    if not path.endswith(f"/{MANIFEST}") or mirror.most_bytes(path) is None or path not in main.files:
        return False
    try:
        old, new = (manifest_of(repo, path, at) for at in (main, there))
    except ValueError:
        return False
    return old.payload is None and new.payload is not None and new.model_copy(update={"payload": None}) == old


def manifest_of(repo: hub.Repo, path: str, at: hub.Listing) -> Manifest:
    """One that a listing has. Raises ValueError."""
    hub.check_size(repo, path, at.files[path].size, MAX_MANIFEST_BYTES)
    return Manifest.model_validate_json(hub.fetch(repo, path, at.sha, MAX_MANIFEST_BYTES).read_bytes())


def _problems(there: hub.Listing, base: hub.Listing, main: hub.Listing) -> Iterator[str]:
    for path in sorted(base.files.keys() - there.files.keys()):
        yield f"deleted: {path}"
    for path, remote in sorted(there.files.items()):
        if path in base.files or path in main.files:
            continue
        limit = mirror.most_bytes(path)
        if limit is None:
            yield f"added: {path}; allowed: records/, reviews/ and submissions/ in their known form"
        elif remote.size > limit:
            yield f"too large: {path} has {remote.size:,} bytes; allowed: {limit:,}"


def copy(found: Proposal, into: Path) -> Path:
    """Records, reviews and manifest of the submission, those on main included, in `into/prN-SHA8`. Raises ValueError."""
    of_cell = [path for path in found.there.files if mirror.most_bytes(path) and path.split("/")[1:3] == found.cell.split("/")]
    size = sum(found.there.files[path].size for path in of_cell)
    if len(of_cell) > MAX_FILES or size > MAX_BYTES:
        raise ValueError(
            f"pull request {found.number} of {found.repo} has {len(of_cell):,} files of {size:,} bytes for {found.cell}; "
            f"allowed: {MAX_FILES:,} and {MAX_BYTES:,}"
        )
    if found.manifest not in of_cell:
        raise ValueError(f"pull request {found.number} of {found.repo} has no {found.manifest}: `vddbench submit` makes it")
    folder = into / f"pr{found.number}-{found.there.sha[:8]}"
    mirror.bring(found.repo, found.there, of_cell, folder)
    return folder
