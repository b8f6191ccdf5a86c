"""Records and manifests on this machine, by their paths in a results repo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.site.local_submissions import find_submissions
from vddbench.submissions.manifest import MANIFEST
from vddbench.system.progress import say


@dataclass(frozen=True)
class LocalFiles:
    """Everything on this machine that belongs in a results repo."""

    files: dict[str, Path]  # path in the results repo -> file on this machine
    payload_folders: tuple[Path, ...]  # of the submissions behind these records, if their payload is here


def gather_files(results: Sequence[Path], submissions: Sequence[Path]) -> LocalFiles:
    """All records below the folders whose scores agree with their predictions, and the manifests of their distilled sets.

    Prints what is refused. Raises FileNotFoundError for a folder that does not exist.
    """
    for root in (*results, *submissions):
        if not root.is_dir():
            raise FileNotFoundError(
                f"there is no folder {root}; name the folders of your records with --results, those of your submissions with "
                "--submissions"
            )
    files, refused = mirror.publishable(results)
    cells = set(map(mirror.cell_in, files))
    by_identity, refused_manifests = find_submissions(submissions)
    for line in (*refused, *refused_manifests):
        say(f"left out: {line}")
    payload_folders = []
    for (_, folder_name, _), submission in sorted(by_identity.items()):
        if (cell := submission.manifest.cell) in cells:
            files[f"{mirror.SUBMISSIONS}/{cell}/{MANIFEST}"] = submission.folder / MANIFEST
            if submission.folder.name == folder_name and submission.has_payload:
                payload_folders.append(submission.folder)
    return LocalFiles(files, tuple(payload_folders))


def is_content_named(path: str) -> bool:
    """Whether the path contains a hash of the content, so that all files of this path must be equal."""
    return not path.startswith(f"{mirror.SUBMISSIONS}/")
