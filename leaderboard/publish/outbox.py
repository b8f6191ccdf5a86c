"""The outbox: a folder in which a machine without a network collects files that another machine publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish.destination import foreign_files
from vddbench.leaderboard.publish.local_files import gather_files, is_content_named
from vddbench.records.files import PREDICTIONS
from vddbench.submissions.manifest import DATA, MANIFEST
from vddbench.system.files import copy_whole, sha256_file
from vddbench.system.locks import locked
from vddbench.system.progress import bar

OUTBOX = ".vddbench-outbox"  # marks a folder as an outbox; also its lock


def write_outbox(into: Path, results: Sequence[Path], submissions: Sequence[Path]) -> int:
    """Adds to `into` everything that is needed to publish, and returns the number of files added.

    Never changes a file in it, except the copy of a payload whose submission was distilled again. Raises ValueError if `into`
    contains something else.
    """
    if into.exists() and not (into / OUTBOX).is_file() and (others := [path.name for path in into.iterdir()]):
        raise foreign_files(str(into), others)
    local = gather_files(results, submissions)
    with locked(into / OUTBOX):
        count = copy_missing(local.files, into)
        with bar("payloads", len(local.payload_folders)) as progress:
            for folder in local.payload_folders:
                count += _copy_payload(folder, into / mirror.SUBMISSIONS / folder.parent.name / folder.name)
                progress.advance()
    return count


def copy_missing(files: Mapping[str, Path], into: Path) -> int:
    """Copies files that are missing or damaged in `into`, and returns their number. Never replaces a manifest.

    Can be interrupted and repeated, and several processes may do it: a record's predictions are copied before the record.
    """
    missing = [
        path
        for path, file in files.items()
        if not (into / path).is_file() or (is_content_named(path) and sha256_file(into / path) != sha256_file(file))
    ]
    for path in sorted(missing, key=lambda path: (not path.endswith(PREDICTIONS), path)):
        copy_whole(files[path], into / path)
    return len(missing)


def _copy_payload(folder: Path, into: Path) -> int:
    if (into / MANIFEST).is_file() and all(sha256_file(folder / name) == sha256_file(into / name) for name in (MANIFEST, DATA)):
        return 0
    (into / MANIFEST).unlink(missing_ok=True)
    for name in (DATA, MANIFEST):  # the manifest last: a folder that has one is complete
        copy_whole(folder / name, into / name)
    return 2
