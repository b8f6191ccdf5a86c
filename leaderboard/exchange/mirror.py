"""A results repo and its copy on disk: `published/{records,reviews,submissions}`, the same paths on both sides.

Records and reviews are called by their content, so copies never conflict: what is there is never fetched or sent again.
Everything in the repo may be a stranger's: only paths of the known form and of bounded size are fetched; reading verifies them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vddbench import hub
from vddbench.records.files import MAX_JSON_BYTES, all_record_files, published_path, read_record
from vddbench.records.predictions import MAX_NPZ_BYTES
from vddbench.records.record import Record
from vddbench.submissions.manifest import MANIFEST, MAX_MANIFEST_BYTES
from vddbench.system.files import replacing
from vddbench.system.progress import bar, say

RECORDS, REVIEWS, SUBMISSIONS = "records", "reviews", "submissions"
CELL = r"[a-z0-9][a-z0-9_]{0,39}-(?:ipc[0-9]{1,3}|full)/[a-z0-9][a-z0-9_]{0,39}(?:-s[0-9]{1,10})?@[0-9a-f]{8}"
STUDENT = r"[a-z0-9][a-z0-9_]{0,39}/seed[0-9]{1,10}\.[0-9a-f]{16}"
FORMS = {  # what a results repo holds beside its tables, and how large it may be
    re.compile(rf"{RECORDS}/{CELL}/{STUDENT}\.json"): MAX_JSON_BYTES,
    re.compile(rf"{RECORDS}/{CELL}/{STUDENT}\.npz"): MAX_NPZ_BYTES,
    re.compile(rf"{REVIEWS}/{CELL}/{STUDENT}\.json"): MAX_JSON_BYTES,
    re.compile(rf"{SUBMISSIONS}/{CELL}/{re.escape(MANIFEST)}"): MAX_MANIFEST_BYTES,
}
THREADS = 8


@dataclass(frozen=True)
class Pulled:
    """The copy is as the repo was at commit `sha`; `paths` are all of its records, reviews and manifests."""

    sha: str
    paths: list[str]
    fetched: int


def most_bytes(path: str) -> int | None:
    """How large a file of a results repo may be; None for one that is no record, review or manifest."""
    return next((limit for form, limit in FORMS.items() if form.fullmatch(path)), None)


def pull(repo: hub.Repo, into: Path, tasks: Sequence[str] = (), revision: str = "main") -> Pulled:
    """Fetches what `into` lacks; tasks: only these. Can be interrupted and repeated.

    What is too large is named and left out. Raises OSError when the Hub can't be reached or has no such repo.
    """
    there = hub.listing(repo, revision)
    paths = []
    for path, remote in sorted(there.files.items()):
        limit = most_bytes(path)
        if limit is None or (tasks and path.split("/")[1] not in tasks):
            continue
        if remote.size > limit:
            say(f"left out: {path} of {repo} has {remote.size:,} bytes; at most {limit:,} are read")
        else:
            paths.append(path)
    return Pulled(there.sha, paths, bring(repo, there, paths, into))


def bring(repo: hub.Repo, there: hub.Listing, paths: Sequence[str], into: Path) -> int:
    """Fetches which of these files of a listing `into` lacks; says how many."""
    missing = [path for path in paths if not _is_here(into / path, there.files[path])]
    with bar(f"fetching from {repo.id}", len(missing)) as progress, ThreadPoolExecutor(THREADS) as pool:
        try:
            for suffix in (".npz", ".json"):  # a record's predictions before the record, which makes them whole
                for _ in pool.map(lambda path: _fetch(repo, path, there.sha, into), _ending(missing, suffix)):
                    progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(missing)


def _ending(paths: Iterable[str], suffix: str) -> list[str]:
    return [path for path in paths if path.endswith(suffix)]


def _is_here(path: Path, remote: hub.Remote) -> bool:
    """Manifests may change; the others are called by their content, which reading checks."""
    return path.is_file() and path.stat().st_size == remote.size and (path.name != MANIFEST or remote.holds(path))


def _fetch(repo: hub.Repo, path: str, sha: str, into: Path) -> None:
    limit = most_bytes(path)
    assert limit is not None
    data = hub.fetch(repo, path, sha, limit).read_bytes()
    with replacing(into / path) as file:
        file.write(data)


def files_of(path: Path, record: Record) -> dict[str, Path]:
    """A record's file and its predictions, by their paths in a results repo; the record first."""
    due = f"{RECORDS}/{published_path(record, path.read_bytes()).as_posix()}"
    return {due: path, due.removesuffix(".json") + ".npz": path.with_suffix(".npz")}


def publishable(results: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """({path in the repo: file} of every record that verifies, reruns and predictions included; what is refused and why)."""
    found: dict[str, Path] = {}
    refused = []
    for root in results:
        for path in all_record_files(root):
            try:
                record, _ = read_record(path)
            except (ValueError, OSError) as error:
                refused.append(str(error))
                continue
            found |= files_of(path, record)
    return found, refused
