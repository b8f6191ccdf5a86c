"""A pull request on a results repo, before anything in it is believed: what it changes, and a copy of what it brings.

Allowed are new records, reviews and the manifest of one submission. Everything else is listed and refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vddbench import hub, mirror
from vddbench.manifest import MANIFEST

MAX_FILES, MAX_BYTES = 2000, 2_000_000_000  # of one submission's records: 1,000 of 2 MB
PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Proposal:
    """A pull request that changes nothing but what it may."""

    repo: hub.Repo
    number: int
    author: str
    there: hub.Listing  # all files at its newest commit
    cell: str  # TASK/METHOD[-sN]@SHA8
    added: list[str]

    @property
    def revision(self) -> str:
        return f"refs/pr/{self.number}"

    @property
    def manifest(self) -> str:
        return f"{mirror.SUBMISSIONS}/{self.cell}/{MANIFEST}"


def proposal(repo: hub.Repo, number: int) -> Proposal:
    """Raises ValueError with everything that the pull request may not change, LookupError when there is none."""
    told = hub.discussed(repo, number)
    if told.status not in {"open", "draft"}:
        raise ValueError(f"pull request {number} of {repo} is {told.status}; only open ones are verified")
    there = hub.listing(repo, f"refs/pr/{number}")
    base = hub.listing(repo, hub.parting(repo, there.sha))
    main = hub.listing(repo)
    problems = list(_problems(there, base, main))
    added = sorted(path for path in there.files if path not in base.files and path not in main.files)
    cells = sorted({"/".join(path.split("/")[1:3]) for path in added if mirror.most_bytes(path) is not None})
    if len(cells) > 1:
        problems.append(f"of {len(cells)} submissions: {', '.join(cells[:PROBLEMS_SHOWN])}; allowed: one a pull request")
    if not added and not problems:
        problems.append("nothing is new")
    if problems:
        shown = problems[:PROBLEMS_SHOWN] + [f"... and {len(problems) - PROBLEMS_SHOWN} more"] * (
            len(problems) > PROBLEMS_SHOWN
        )
        raise ValueError("\n".join([f"pull request {number} of {repo} is refused:", *(f"  {each[:300]}" for each in shown)]))
    return Proposal(repo, number, told.author, there, cells[0], added)


def _problems(there: hub.Listing, base: hub.Listing, main: hub.Listing) -> Iterator[str]:
    for path in sorted(base.files.keys() - there.files.keys()):
        yield f"deleted: {path}"
    for path, remote in sorted(there.files.items()):
        before = base.files.get(path, main.files.get(path))
        if before is not None:
            if before != remote:
                yield f"changed: {path}"
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
