"""What there is here to publish: records and manifests by their path in a results repo; an outbox. No torch."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish.destination import not_ours
from vddbench.leaderboard.site import local_submissions
from vddbench.records.files import PREDICTIONS
from vddbench.submissions.manifest import DATA, MANIFEST
from vddbench.system.files import replacing, sha256_file
from vddbench.system.progress import bar, say

KILLED_SECONDS = 86_400  # what a live process has made is younger
OUTBOX = ".vddbench-outbox"  # the mark of an outbox, and its lock


@dataclass(frozen=True)
class LocalFiles:
    """files: path in the results repo -> file here; payloads: folders of the submissions that they are of, where here."""

    files: dict[str, Path]
    payloads: tuple[Path, ...] = ()


def gather(results: Sequence[Path], submissions: Sequence[Path]) -> LocalFiles:
    """Every record below the folders that verifies with its predictions, and the manifests of their distilled sets. What is
    refused is named on stderr. Raises FileNotFoundError for a folder that isn't there."""
    for root in (*results, *submissions):
        if not root.is_dir():
            raise FileNotFoundError(f"there is no folder {root}; name those of your records with --results, "
                                    "those of your submissions with --submissions")  # fmt: skip
    files, refused = mirror.publishable(results)
    for line in refused:
        say(f"left out: {line}")
    cells = {"/".join(path.split("/")[1:3]) for path in files}  # TASK/METHOD@SHA8
    found, problems = local_submissions.find(submissions)
    for line in problems:
        say(f"left out: {line}")
    payloads = []
    for (_, method, _), each in sorted(found.items()):
        if (cell := each.manifest.cell) in cells:
            files[f"{mirror.SUBMISSIONS}/{cell}/{MANIFEST}"] = each.folder / MANIFEST
            if each.folder.name == method and (each.folder / DATA).is_file():
                payloads.append(each.folder)
    return LocalFiles(files, tuple(payloads))


def whole_records_first(paths: Sequence[str]) -> list[list[str]]:
    """Files that belong into one commit: a record with its predictions, or a manifest."""
    groups: dict[str, list[str]] = {}
    for path in sorted(paths):
        groups.setdefault(path.rsplit(".", 1)[0], []).append(path)
    return list(groups.values())


def is_content_named(path: str) -> bool:
    """Whether the path contains a hash of the content, so that every file of this path must be equal."""
    return not path.startswith(f"{mirror.SUBMISSIONS}/")


def copy(files: Mapping[str, Path], into: Path) -> int:
    """Copies what `into` lacks or holds damaged, a record's predictions before the record; how many. Manifests that are there
    stay as they are. Can be killed and repeated; several processes may do it."""
    missing = [
        path
        for path, file in files.items()
        if not (into / path).is_file() or (is_content_named(path) and sha256_file(into / path) != sha256_file(file))
    ]
    for path in sorted(missing, key=lambda path: (not path.endswith(PREDICTIONS), path)):
        with replacing(into / path) as target, files[path].open("rb") as source:
            shutil.copyfileobj(source, target)
    return len(missing)


def write_outbox(into: Path, results: Sequence[Path], submissions: Sequence[Path]) -> int:
    """Adds to `into` all that a login node needs to publish; how many files. What is there is never changed, but for the copy
    of a payload (for its previews) whose submission was made anew. Raises ValueError for a folder that holds something else."""
    if into.exists() and not (into / OUTBOX).is_file() and (others := [path.name for path in into.iterdir()]):
        raise not_ours(str(into), others)
    gathered = gather(results, submissions)
    into.mkdir(parents=True, exist_ok=True)
    with (into / OUTBOX).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        count = copy(gathered.files, into)
        with bar("payloads", len(gathered.payloads)) as progress:
            for folder in gathered.payloads:
                count += _copy_payload(folder, into / mirror.SUBMISSIONS / folder.parent.name / folder.name)
                progress.advance()
    return count


def _copy_payload(folder: Path, into: Path) -> int:
    """The manifest last: its presence means the folder is whole."""
    if (into / MANIFEST).is_file() and all(sha256_file(folder / name) == sha256_file(into / name) for name in (MANIFEST, DATA)):
        return 0
    (into / MANIFEST).unlink(missing_ok=True)
    for name in (DATA, MANIFEST):
        with replacing(into / name) as target, (folder / name).open("rb") as source:
            shutil.copyfileobj(source, target)
    return 2


@contextmanager
def tree_of(files: Mapping[str, Path], beside: Path) -> Iterator[Path]:
    """A folder of exactly these files, by links where the file system has them; gone afterwards."""
    beside.mkdir(parents=True, exist_ok=True)
    for left in beside.glob(".tree.*"):
        if time.time() - left.stat().st_mtime > KILLED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=".tree.", dir=beside) as name:
        for path, file in files.items():
            target = Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.resolve(), target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(file, target)
        yield Path(name)
