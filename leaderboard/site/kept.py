"""Descriptions and previews that are kept beside records, so that a machine without the payloads and the data shows them.

`vddbench site build --keep` writes them: `manifest.json` and the previews into the folder of a set's records, and what was read
from payloads and prepared stores into `built.json` of the results folder. Like records, they may come from strangers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vddbench.leaderboard.site.inventory import Inventory, PayloadView, read_inventory
from vddbench.leaderboard.site.local_submissions import Identity, LocalSubmission
from vddbench.submissions.manifest import MANIFEST
from vddbench.system.files import copy_whole

MAX_PREVIEW_BYTES = 50_000  # as `submissions/previews.py` writes them


@dataclass(frozen=True)
class Kept:
    """A results folder, and what is kept in it."""

    root: Path
    inventory: Inventory

    def view(self, page: str, folder: Path) -> PayloadView | None:
        """The view of a page, with its previews copied into `folder`; None if it is not here, or not whole."""
        view = self.inventory.pages.get(page)
        if view is None or view.previews is None:
            return None
        files = [folder_of(self.root, page) / name for name in view.previews.names]
        if not all(is_preview(file) for file in files):
            return None
        for file in files:
            copy_whole(file, folder / file.name)
        return view


def kept_in(roots: Sequence[Path]) -> tuple[Kept, ...]:
    return tuple(Kept(root, read_inventory(root)) for root in roots)


def folder_of(root: Path, page: str) -> Path:
    """The folder of the records of a page `s/TASK/METHOD@SHA8`."""
    return root.joinpath(*PurePosixPath(page).parts[1:])


def is_preview(file: Path) -> bool:
    """Whether it is a WebP file of the size of a preview, and no link to another file."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > MAX_PREVIEW_BYTES:
        return False
    with file.open("rb") as opened:
        head = opened.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def keep(roots: Sequence[Path], site: Path, inventory: Inventory, submissions: Mapping[Identity, LocalSubmission]) -> None:
    """Writes into the results folders what a build wrote into `site`."""
    manifests = {f"s/{submission.manifest.cell}": submission.folder / MANIFEST for submission in submissions.values()}
    for root in filter(Path.is_dir, roots):
        pages = {page: view for page, view in inventory.pages.items() if view.previews and folder_of(root, page).is_dir()}
        for page, view in pages.items():
            names = view.previews.names if view.previews else []
            manifest = [manifests[page]] if page in manifests else []  # none if an earlier build kept these previews
            for source in (*(site / page / name for name in names), *manifest):
                if source.resolve().parent != folder_of(root, page).resolve():
                    copy_whole(source, folder_of(root, page) / source.name)
        Inventory(pages=pages, specs=inventory.specs).write(root)
