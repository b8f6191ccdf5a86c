"""Whose a method's name, a submission's digest and a cell of a results repo are: what a pull request may not take.

`verify` asks before anything is trained, `submit` before anything is uploaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from vddbench import hub
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.exchange import payload_download as sets
from vddbench.leaderboard.exchange.proposal import Proposal, manifest_of, refusal
from vddbench.leaderboard.exchange.rerun import One
from vddbench.lookup import is_bundled
from vddbench.records.files import MAX_JSON_BYTES
from vddbench.records.record import Record, Review
from vddbench.spec import Manifest
from vddbench.submissions.manifest import MANIFEST
from vddbench.system.progress import bar

CLOCKS_DIFFER = timedelta(minutes=10)


def name_problems(
    board: hub.Repo, main: hub.Listing, manifest: Manifest, owner: str, *, by_maintainer: bool = False
) -> list[str]:
    """Why a submission may not be called what it is called.

    owner: of the dataset repo with its set. A method is theirs whose sets are on main, the maintainers' where a manifest does
    not say where its set lies. Maintainers (who may write to the board) may use every name.
    """
    cells: dict[str, list[str]] = {}
    for path in main.files:
        if mirror.most_bytes(path) is not None:
            cells.setdefault("/".join(path.split("/")[1:3]), []).append(path)
    own = manifest.cell
    of_method = [cell for cell in cells if cell.split("/")[1].partition("@")[0].partition("-")[0] == manifest.method]
    of_digest = [cell for cell in cells if cell.endswith(f"@{manifest.sha256[:8]}")]
    problems = list(_digest_problems(board, main, manifest, {cell: cells[cell] for cell in of_digest}))
    if by_maintainer:
        return problems
    if is_bundled(manifest.method):
        problems.append(
            f"{manifest.method!r} is the name of a bundled baseline, which tables measure others by; choose another method name"
        )
        return problems
    with bar(f"whose is {manifest.method!r}", len(of_method)) as progress:
        for cell in sorted(of_method):
            whose = _owner_on_main(board, main, cell)
            if whose is None or whose.casefold() != owner.casefold():
                theirs = f"{whose}'s" if whose else "the maintainers'"
                joins = "its set is already there" if cell == own else "one name is one entry of the tables"
                problems.append(
                    f"the method {manifest.method!r} is {theirs} ({cell}), not {owner}'s; {joins}: choose another name"
                )
                break
            progress.advance()
    return problems


def check_name(board: hub.Repo, main: hub.Listing, manifest: Manifest, owner: str) -> None:
    """`name_problems` of a set of ours as ValueError, before anything of it is uploaded."""
    if problems := name_problems(board, main, manifest, owner, by_maintainer=hub.may_write(board)):
        raise refusal(f"{manifest.method} would be refused on {board.url}:", problems)


def _owner_on_main(board: hub.Repo, main: hub.Listing, cell: str) -> str | None:
    path = f"{mirror.SUBMISSIONS}/{cell}/{MANIFEST}"
    if path not in main.files:
        return None
    try:
        return owner_of(manifest_of(board, path, main))
    except ValueError:
        return None


def owner_of(manifest: Manifest) -> str:
    """Of the dataset repo with the set. Raises ValueError for a manifest that does not say where it is."""
    return sets.pinned(manifest).repo.id.partition("/")[0]


def _digest_problems(board: hub.Repo, main: hub.Listing, manifest: Manifest, cells: dict[str, list[str]]) -> Iterator[str]:
    """Cells are called by the first 8 digits of the digest: two submissions must never share them."""
    for cell, paths in sorted(cells.items()):
        path = next((path for path in paths if path.endswith(f"/{MANIFEST}")), None) or next(
            (path for path in paths if path.startswith(f"{mirror.RECORDS}/") and path.endswith(".json")), None
        )
        if path is None:
            continue
        try:
            if path.endswith(f"/{MANIFEST}"):
                found = manifest_of(board, path, main)
                method, sha256 = found.method, found.sha256
            else:
                hub.check_size(board, path, main.files[path].size, MAX_JSON_BYTES)
                record = Record.model_validate_json(hub.fetch(board, path, main.sha, MAX_JSON_BYTES).read_bytes())
                method, sha256 = record.method, record.submission_sha256
        except ValueError:
            yield f"{path} on main can't be read, so that nobody can tell whether {cell} is another submission"
            continue
        if sha256 != manifest.sha256:
            yield f"sha256 {manifest.sha256[:16]} shares its first 8 digits with {cell}; pack it again with another byte in it"
        elif method != manifest.method:
            yield f"its bytes are those of {cell}: one set has one name"


def set_problems(manifest: Manifest, author: str) -> Iterator[str]:
    """Is the set where its manifest says by who opened the pull request? Anybody can add a commit to anybody's repo, in a pull
    request there: main's count."""
    where = sets.pinned(manifest)
    by = hub.authors(where.repo, where.revision)
    if by is None:
        yield f"commit {where.revision[:8]} is not on main of {where.repo}; allowed: a commit of its owner's"
    elif author.casefold() not in {owner_of(manifest).casefold(), *(name.casefold() for name in by)}:
        yield f"the set in {where.repo} was uploaded by {', '.join(by) or 'others'}; the pull request is by {author}"


def taken(paths: Iterable[str], main: hub.Listing) -> set[str]:
    """Which of these new records and predictions are of cells that main has a record of? Only re-runs of those may join."""
    cells = {_cell(other) for other in main.files if other.startswith(f"{mirror.RECORDS}/")}
    return {path for path in paths if path not in main.files and _cell(path) in cells}


def _cell(path: str) -> str:
    """records/TASK/METHOD@SHA8/STUDENT/seedN"""
    return path.partition(".")[0]


def record_problems(
    found: Proposal, new: Sequence[tuple[str, One]], old: Iterable[One], told: Iterable[tuple[str, Review]]
) -> Iterator[str]:
    """What is wrong with new records (by their paths) and the author's reviews, beside those that main has."""
    latest = (datetime.now(UTC) + CLOCKS_DIFFER).strftime("%Y-%m-%dT%H:%M:%SZ")
    on_main = {each.digest for each in old}
    dates = [(path, each.record.date) for path, each in new]
    reruns = set()
    for path, review in told:
        dates.append((path, review.date))
        if review.of not in on_main:
            yield f"{path} is of no record on main: records are reviewed by others, once they are published"
        elif review.kind == "reproduced" and review.by == found.author:
            reruns.add(review.rerun)
    for path, date in dates:
        if date > latest:
            yield f"{path} is dated {date}, which is in the future"
    of_others = taken((path for path, _ in new), found.main)
    for path, each in new:
        if each.digest not in reruns and path in of_others:
            yield f"{path}: main has a record of this student and seed; another one is a re-run: `vddbench reproduce`"
