"""A pull request on a results repo: what it changes, and a copy of the files that it adds.

A pull request may add records and the manifest of one submission, or the field `payload` that a manifest on main lacks. All
other changes are listed and refused, in particular changes of MAINTAINERS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vddbench import hub
from vddbench.leaderboard.exchange import mirror
from vddbench.spec import Manifest
from vddbench.submissions.manifest import MANIFEST, MAX_MANIFEST_BYTES
from vddbench.system.files import parse_json

MAX_FILES, MAX_BYTES = 2000, 2_000_000_000  # of one submission: 1,000 records of 2 MB
PROBLEMS_SHOWN, LETTERS_SHOWN = 20, 500


@dataclass(frozen=True)
class Proposal:
    """An open pull request that makes only allowed changes."""

    repo: hub.Repo
    number: int
    author: str
    head: hub.Listing  # all files at its newest commit
    main: hub.Listing
    maintainers: frozenset[str]  # listed in main's MAINTAINERS
    cell: str  # TASK/METHOD[-sN]@SHA8
    added: list[str]  # new files, and a manifest that gets its payload

    def __str__(self) -> str:
        return f"pull request {self.number} of {self.repo}"

    @property
    def revision(self) -> str:
        return f"refs/pr/{self.number}"

    @property
    def manifest(self) -> str:
        return f"{mirror.SUBMISSIONS}/{self.cell}/{MANIFEST}"


def refusal(about: str, problems: Sequence[str]) -> ValueError:
    """An error with one line for each problem, at most PROBLEMS_SHOWN of them; their text may come from a stranger."""
    shown = [" ".join(problem.split())[:LETTERS_SHOWN] for problem in problems[:PROBLEMS_SHOWN]]
    shown += [f"... and {len(problems) - PROBLEMS_SHOWN} more"] * (len(problems) > PROBLEMS_SHOWN)
    return ValueError("\n".join([about, *(f"  {line}" for line in shown)]))


def proposal(repo: hub.Repo, number: int) -> Proposal:
    """Raises ValueError with every change that is not allowed, LookupError if there is no such pull request."""
    opened = hub.discussed(repo, number)
    if opened.status not in {"open", "draft"}:
        raise ValueError(f"pull request {number} of {repo} is {opened.status}; only open ones can be verified")
    head = hub.listing(repo, f"refs/pr/{number}")
    base = hub.listing(repo, hub.parting(repo, head.sha))
    main = hub.listing(repo)
    changed = sorted(path for path in head.files if _is_changed(path, head, base, main))
    located = [path for path in changed if _adds_payload(repo, path, head, main)]
    problems = [f"changed: {path}" for path in changed if path not in located] + list(_problems(head, base, main))
    added = sorted([*located, *(path for path in head.files if path not in base.files and path not in main.files)])
    cells = sorted({mirror.cell_in(path) for path in added if mirror.most_bytes(path) is not None})
    if len(cells) > 1:
        problems.append(f"files of {len(cells)} submissions: {', '.join(cells[:PROBLEMS_SHOWN])}; allowed: one submission")
    if not added and not problems:
        problems.append("it adds nothing")
    if problems:
        raise refusal(f"pull request {number} of {repo} is refused:", problems)
    return Proposal(repo, number, opened.author, head, main, mirror.maintainers(repo, main), cells[0], added)


def _is_changed(path: str, head: hub.Listing, base: hub.Listing, main: hub.Listing) -> bool:
    before = base.files.get(path, main.files.get(path))
    return before is not None and head.files[path] not in {before, main.files.get(path)}


def _adds_payload(repo: hub.Repo, path: str, head: hub.Listing, main: hub.Listing) -> bool:
    """Whether the pull request changes a manifest of main only by adding the field `payload`, which it lacks."""
    if not path.endswith(f"/{MANIFEST}") or mirror.most_bytes(path) is None or path not in main.files:
        return False
    try:
        old, new = (manifest_of(repo, path, listing) for listing in (main, head))
    except ValueError:
        return False
    return old.payload is None and new.payload is not None and new.model_copy(update={"payload": None}) == old


def manifest_of(repo: hub.Repo, path: str, listing: hub.Listing) -> Manifest:
    """A manifest of a listing. Raises ValueError naming it if it is not valid."""
    hub.check_size(repo, path, listing.files[path].size, MAX_MANIFEST_BYTES)
    text = hub.fetch(repo, path, listing.sha, MAX_MANIFEST_BYTES).read_bytes()
    try:
        parse_json(text, MAX_MANIFEST_BYTES)
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{path} of {repo} is not valid ({error.errors()[0]['msg'][:200]})") from error
    except ValueError as error:
        raise ValueError(f"{path} of {repo} is not valid ({str(error)[:200]})") from error


def _problems(head: hub.Listing, base: hub.Listing, main: hub.Listing) -> Iterator[str]:
    for path in sorted(base.files.keys() - head.files.keys()):
        yield f"deleted: {path}"
    for path, remote in sorted(head.files.items()):
        if path in base.files or path in main.files:
            continue
        limit = mirror.most_bytes(path)
        if limit is None:
            yield f"added: {path}; allowed: records/ and submissions/ in their known form"
        elif remote.size > limit:
            yield f"too large: {path} has {remote.size:,} bytes; allowed: {limit:,}"


def copy(proposed: Proposal, into: Path) -> Path:
    """Copies the submission's records and manifest, those on main included, to `into/SHA8`. Raises ValueError."""
    files = proposed.head.files
    paths = [path for path in files if mirror.most_bytes(path) and mirror.cell_in(path) == proposed.cell]
    size = sum(files[path].size for path in paths)
    if len(paths) > MAX_FILES or size > MAX_BYTES:
        raise ValueError(
            f"{proposed} has {len(paths):,} files of {size:,} bytes for {proposed.cell}; allowed: {MAX_FILES:,} files and "
            f"{MAX_BYTES:,} bytes"
        )
    if proposed.manifest not in paths:
        raise ValueError(f"{proposed} has no {proposed.manifest}; `vddbench submit` writes it")
    folder = into / proposed.head.sha[:8]
    mirror.bring(proposed.repo, proposed.head, paths, folder)
    return folder
