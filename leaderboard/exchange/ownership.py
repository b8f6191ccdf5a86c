"""Ownership rules: who may use a method's name, a submission's digest and a cell, and who may propose a re-run.

* A method's name belongs to whoever's set was merged first, with all names that look like it; the names of bundled baselines
  belong to the maintainers.
* A digest belongs to one submission.
* Main has one author's record of a cell. Everybody else's record of it is a re-run and names its maker (`Record.by`).
* Nobody can reproduce a set of their own, or propose a re-run in another person's name.

`verify` checks these rules before it trains anything; `submit` checks the first two before it uploads anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from vddbench import hub
from vddbench.leaderboard.exchange import mirror, payload_download
from vddbench.leaderboard.exchange.proposal import Proposal, manifest_of, refusal
from vddbench.leaderboard.exchange.rerun import VerifiedRecord
from vddbench.leaderboard.reruns import is_copy, key_of
from vddbench.records.files import MAX_JSON_BYTES
from vddbench.records.fresh_seeds import FIRST
from vddbench.records.record import Record
from vddbench.spec import Manifest
from vddbench.submissions.manifest import MANIFEST
from vddbench.submissions.method_names import look_alike, taken_by_tables
from vddbench.system.files import parse_json
from vddbench.system.progress import bar

CLOCKS_DIFFER = timedelta(minutes=10)


def name_problems(
    board: hub.Repo, main: hub.Listing, manifest: Manifest, owner: str, *, by_maintainer: bool = False
) -> list[str]:
    """Why a submission may not use its method's name or its bytes; maintainers may use every name.

    owner: owner of the dataset repo that contains the set. A method belongs to the owner of its sets on main; if a manifest on
    main does not say where its set is, the method belongs to the maintainers.
    """
    problems = list(_digest_problems(board, main, manifest))
    if by_maintainer:
        return problems
    if problem := taken_by_tables(manifest.method):
        return [*problems, problem]
    cells = {mirror.cell_in(path) for path in main.files if mirror.most_bytes(path) is not None}
    of_method = sorted(cell for cell in cells if look_alike(_method_of(cell), manifest.method))
    with bar(f"who owns {manifest.method!r}", len(of_method)) as progress:
        for cell in of_method:
            theirs = _owner_on_main(board, main, cell)
            if theirs is None or theirs.casefold() != owner.casefold():
                own = cell == manifest.cell
                why = "its set is published already" if own else "one name is one entry of the tables"
                method_owner = theirs or "the maintainers"
                similar = "" if _method_of(cell) == manifest.method else f" {manifest.method!r} looks like it;"
                problems.append(
                    f"the method {_method_of(cell)!r} belongs to {method_owner} ({cell}), not to {owner};{similar} {why}: "
                    "choose another name"
                )
                break
            progress.advance()
    return problems


def check_name(board: hub.Repo, main: hub.Listing, manifest: Manifest, owner: str) -> None:
    """Raises ValueError with the `name_problems` of the user's own set."""
    by_maintainer = hub.whoami() in mirror.maintainers(board, main)
    if problems := name_problems(board, main, manifest, owner, by_maintainer=by_maintainer):
        raise refusal(f"{manifest.method} would be refused on {board.url}:", problems)


def _method_of(cell: str) -> str:
    """METHOD of TASK/METHOD[-sN]@SHA8. The name of a method contains no dash."""
    return cell.split("/")[1].partition("@")[0].partition("-")[0]


def _owner_on_main(board: hub.Repo, main: hub.Listing, cell: str) -> str | None:
    path = f"{mirror.SUBMISSIONS}/{cell}/{MANIFEST}"
    try:
        return owner_of(manifest_of(board, path, main)) if path in main.files else None
    except ValueError:
        return None


def owner_of(manifest: Manifest) -> str:
    """The owner of the dataset repo that contains the set. Raises ValueError if the manifest does not say where it is."""
    return payload_download.pinned(manifest).repo.id.partition("/")[0]


def _digest_problems(board: hub.Repo, main: hub.Listing, manifest: Manifest) -> Iterator[str]:
    """Folder names contain the first 8 digits of the digest, so two submissions must never share these digits."""
    first: dict[str, str] = {}
    for path in sorted(main.files, key=lambda path: (not path.endswith(f"/{MANIFEST}"), path)):
        if path.endswith(".json") and mirror.most_bytes(path) is not None:
            first.setdefault(mirror.cell_in(path), path)
    for cell, path in sorted(first.items()):
        if not cell.endswith(f"@{manifest.sha256[:8]}"):
            continue
        try:
            method, sha256 = _identity_on_main(board, main, path)
        except ValueError:
            yield f"{path} on main is not valid, so {cell} may be another submission; ask the maintainers to repair it"
            continue
        if sha256 != manifest.sha256:
            yield f"sha256 {manifest.sha256[:16]} shares its first 8 digits with {cell}; change a byte and pack it again"
        elif method != manifest.method:
            yield f"its bytes are those of {cell}; one set can have only one name"


def _identity_on_main(board: hub.Repo, main: hub.Listing, path: str) -> tuple[str, str]:
    """(method, sha256 of the submission) of a manifest or record. Raises ValueError."""
    if path.endswith(f"/{MANIFEST}"):
        manifest = manifest_of(board, path, main)
        return manifest.method, manifest.sha256
    hub.check_size(board, path, main.files[path].size, MAX_JSON_BYTES)
    text = hub.fetch(board, path, main.sha, MAX_JSON_BYTES).read_bytes()
    parse_json(text, MAX_JSON_BYTES)
    record = Record.model_validate_json(text)
    return record.method, record.submission_sha256


def new_submission_problems(proposed: Proposal, manifest: Manifest) -> list[str]:
    """`name_problems` and `set_problems` of a pull request that adds a submission; none if main has its manifest."""
    if proposed.manifest not in proposed.added:
        return []
    by_maintainer, owner = proposed.author in proposed.maintainers, owner_of(manifest)
    problems = name_problems(proposed.repo, proposed.main, manifest, owner, by_maintainer=by_maintainer)
    return [*problems, *set_problems(manifest, proposed.author)]


def set_problems(manifest: Manifest, author: str) -> Iterator[str]:
    """Problems if the author of a pull request did not upload the set that it adds."""
    where, names = payload_download.pinned(manifest), uploaders(manifest)
    if names is None:
        yield f"commit {where.revision[:8]} is not on main of {where.repo}; allowed: a commit by its owner"
    elif author.casefold() not in names:
        yield f"the set in {where.repo} belongs to {', '.join(sorted(names))}; the pull request is by {author}"


def uploaders(manifest: Manifest) -> set[str] | None:
    """The owner of a set's repo and the authors of its pinned commit, in lower case.

    None if the repo's main branch lacks the commit, because anybody can add a commit by a pull request there. Raises ValueError
    if the manifest does not say where the set is.
    """
    where = payload_download.pinned(manifest)
    names = hub.authors(where.repo, where.revision)
    return None if names is None else {name.casefold() for name in (owner_of(manifest), *names)}


def taken(paths: Iterable[str], main: hub.Listing) -> set[str]:
    """The new records and predictions whose cell already has a record on main."""
    runs = {_run(other) for other in main.files if other.startswith(f"{mirror.RECORDS}/")}
    return {path for path in paths if path not in main.files and _run(path) in runs}


def _run(path: str) -> str:
    """records/TASK/METHOD@SHA8/STUDENT/seedN"""
    return path.partition(".")[0]


def record_problems(
    proposed: Proposal, new: Sequence[tuple[str, VerifiedRecord]], on_main: Sequence[VerifiedRecord], manifest: Manifest
) -> Iterator[str]:
    """Why new records, given with their paths, may not be added to those on main."""
    latest = (datetime.now(UTC) + CLOCKS_DIFFER).strftime("%Y-%m-%dT%H:%M:%SZ")
    occupied = taken((path for path, _ in new), proposed.main)
    seen = set()
    for path, claim in new:
        record = claim.record
        if record.date > latest:
            yield f"{path} is dated {record.date}, which is in the future"
        if record.drawn_from is not None:
            yield f"{path} names the commit of a draw; only students that `vddbench verify` trains for maintainers do so"
        if record.by is None and record.seed >= FIRST:
            yield f"{path} has the seed {record.seed:,}; allowed for claims: 0, 1, 2, ..., below {FIRST:,}"
        if record.by is not None:
            yield from (f"{path} {problem}" for problem in _rerun_problems(proposed, record, on_main, manifest))
        elif path in occupied:
            yield f"{path}: main has a record of this student and seed; another one is a re-run: `vddbench reproduce`"
        elif key_of(record) in seen:
            yield f"{path}: the pull request has two records of this student and seed; allowed: one"
        else:
            seen.add(key_of(record))


def _rerun_problems(proposed: Proposal, record: Record, on_main: Iterable[VerifiedRecord], manifest: Manifest) -> Iterator[str]:
    same = [other.record for other in on_main if key_of(other.record) == key_of(record)]
    appeared = _appeared(manifest)
    if appeared is not None and record.date < appeared:
        yield f"is dated {record.date}, before its payload appeared ({appeared})"
    if record.by != proposed.author:
        yield f"is a re-run by {record.by}; the pull request is by {proposed.author}: everybody proposes their own re-runs"
    elif proposed.author not in proposed.maintainers and manifest.payload and _made(proposed.author, manifest):
        yield f"is a re-run by {record.by}, who uploaded the set itself; only others can reproduce it"
    if all(other.by is not None for other in same):
        yield "is a re-run of a record that main does not have; only published records can be run again"
    if any(is_copy(other, record) for other in same):
        yield "has the machine and the times of a record on main: it is a copy, not a re-run"


def _appeared(manifest: Manifest) -> str | None:
    """When the set was uploaded, in the form of a record's date; None if the manifest does not say where it is."""
    if manifest.payload is None:
        return None
    where = payload_download.pinned(manifest)
    committed = hub.committed_at(where.repo, where.revision)
    return None if committed is None else committed.strftime("%Y-%m-%dT%H:%M:%SZ")


def _made(author: str, manifest: Manifest) -> bool:
    return author.casefold() in (uploaders(manifest) or ())
