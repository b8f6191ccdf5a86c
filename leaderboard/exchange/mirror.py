"""A results repo and its copy on disk: `published/{records,submissions,MAINTAINERS}`, the same paths on both sides.

A record's file name contains a hash of its content, so copies never conflict and no record is transferred twice. Everything in
the repo may come from a stranger: only paths of a known form and of bounded size are fetched, and reading a record verifies it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vddbench import hub
from vddbench.leaderboard.maintainers import MAINTAINERS, MAX_MAINTAINERS_BYTES, parse_maintainers
from vddbench.records.files import MAX_JSON_BYTES, PREDICTIONS, all_record_files, published_path, read_record
from vddbench.records.predictions import MAX_PREDICTIONS_BYTES
from vddbench.records.record import Record
from vddbench.submissions.manifest import MANIFEST, MAX_MANIFEST_BYTES
from vddbench.system.files import copy_whole
from vddbench.system.progress import bar, say

RECORDS, SUBMISSIONS = "records", "submissions"
CELL = r"[a-z0-9][a-z0-9_]{0,39}-(?:ipc[0-9]{1,3}|full)/[a-z0-9][a-z0-9_]{0,39}(?:-s[0-9]{1,10})?@[0-9a-f]{8}"
STUDENT = r"[a-z0-9][a-z0-9_]{0,39}/seed[0-9]{1,10}\.[0-9a-f]{16}"
FORMS = {  # files of a submission in a results repo, and their largest sizes
    re.compile(rf"{RECORDS}/{CELL}/{STUDENT}\.json"): MAX_JSON_BYTES,
    re.compile(rf"{RECORDS}/{CELL}/{STUDENT}{re.escape(PREDICTIONS)}"): MAX_PREDICTIONS_BYTES,
    re.compile(rf"{SUBMISSIONS}/{CELL}/{re.escape(MANIFEST)}"): MAX_MANIFEST_BYTES,
}
THREADS = 8


@dataclass(frozen=True)
class Pulled:
    """The copy equals the repo at commit `sha`; `paths` are its records, manifests and MAINTAINERS."""

    sha: str
    paths: list[str]
    fetched: int


def most_bytes(path: str) -> int | None:
    """The largest size of a record, predictions or a manifest in a results repo; None for any other path."""
    return next((limit for form, limit in FORMS.items() if form.fullmatch(path)), None)


def cell_in(path: str) -> str:
    """TASK/METHOD@SHA8 of a path that `most_bytes` knows."""
    return "/".join(path.split("/")[1:3])


def maintainers(repo: hub.Repo, main: hub.Listing) -> frozenset[str]:
    """The names in the repo's MAINTAINERS file; none if it has no such file. Raises ValueError."""
    if MAINTAINERS not in main.files:
        return frozenset()
    hub.check_size(repo, MAINTAINERS, main.files[MAINTAINERS].size, MAX_MAINTAINERS_BYTES)
    return parse_maintainers(hub.fetch(repo, MAINTAINERS, main.sha, MAX_MAINTAINERS_BYTES).read_bytes())


def pull(repo: hub.Repo, into: Path, tasks: Sequence[str] = (), revision: str = "main") -> Pulled:
    """Fetches the files that `into` lacks; tasks: only records and manifests of these. Can be interrupted and repeated.

    Files that are too large are named and left out. Raises OSError if the Hub can't be reached or has no such repo.
    """
    head = hub.listing(repo, revision)
    paths = []
    for path, remote in sorted(head.files.items()):
        limit = MAX_MAINTAINERS_BYTES if path == MAINTAINERS else most_bytes(path)
        if limit is None or (tasks and path != MAINTAINERS and path.split("/")[1] not in tasks):
            continue
        if remote.size > limit:
            say(f"left out: {path} of {repo} has {remote.size:,} bytes; allowed: {limit:,}")
        else:
            paths.append(path)
    return Pulled(head.sha, paths, bring(repo, head, paths, into))


def bring(repo: hub.Repo, head: hub.Listing, paths: Sequence[str], into: Path) -> int:
    """Fetches those of a listing's files that `into` lacks; returns their number."""
    missing = [path for path in paths if not _is_current(into / path, head.files[path])]
    records = [path for path in missing if path.endswith(".json")]
    others = [path for path in missing if not path.endswith(".json")]
    with bar(f"fetching from {repo.id}", len(missing)) as progress, ThreadPoolExecutor(THREADS) as pool:
        try:
            for part in (others, records):  # predictions before their record, whose presence means that it is whole
                for _ in pool.map(lambda path: _fetch(repo, path, head, into), part):
                    progress.advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(missing)


def _is_current(path: Path, remote: hub.Remote) -> bool:
    """Manifests and MAINTAINERS may change; the names of the other files contain a hash that reading checks."""
    changes = path.name in {MANIFEST, MAINTAINERS}
    return path.is_file() and path.stat().st_size == remote.size and (not changes or remote.holds(path))


def _fetch(repo: hub.Repo, path: str, head: hub.Listing, into: Path) -> None:
    copy_whole(hub.fetch(repo, path, head.sha, head.files[path].size), into / path)


def files_of(path: Path, record: Record) -> dict[str, Path]:
    """A record's file and its predictions, by their paths in a results repo; the record first."""
    published = f"{RECORDS}/{published_path(record, path.read_bytes()).as_posix()}"
    return {published: path, published.removesuffix(".json") + PREDICTIONS: path.with_suffix(PREDICTIONS)}


def publishable(results: Iterable[Path]) -> tuple[dict[str, Path], list[str]]:
    """({path in the repo: file} of all valid records and their predictions, re-runs included; a line for each invalid one).

    Records of protocol sdd are left out.
    """
    files: dict[str, Path] = {}
    refused = []
    for path in (path for root in results for path in all_record_files(root)):
        try:
            record, _ = read_record(path)
        except (ValueError, OSError) as error:
            refused.append(str(error))
        else:
            files |= {} if record.is_replay else files_of(path, record)
    return files, refused
