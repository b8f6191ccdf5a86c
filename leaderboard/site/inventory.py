"""`built.json`: what a build of the site wrote into a folder or a Space.

The next build uses it to remove pages that no longer exist, to reuse previews whose payload did not change, and to show
previews of payloads that are not on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from vddbench.spec import DatasetSpec, Frozen, Sha256
from vddbench.system.files import parse_json, read_json, write_whole

INVENTORY = "built.json"
MAX_INVENTORY_BYTES = 50_000_000
PAGE_FOLDER = r"s/[a-z0-9][a-z0-9_-]{0,79}/[a-z0-9][a-z0-9_-]{0,79}@[0-9a-f]{8}"
BUILT_FILE = re.compile(  # what a build writes, and may remove
    rf"(?:{PAGE_FOLDER}/)?[a-z0-9]{{1,40}}\.(?:html|webp)|tables/[a-z0-9_-]{{1,150}}\.(?:csv|tex)"
)
WebpName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,40}\.webp$")]


class PreviewFile(Frozen):
    """One preview beside a submission's page."""

    file: WebpName
    label: Annotated[int, Field(ge=0)]
    class_name: str
    still: WebpName  # its first frame


class Previews(Frozen):
    """All previews of a submission's page."""

    source_digest: str  # hash of payload, decoder, dataset spec and preview format: equal digests mean equal previews
    files: tuple[PreviewFile, ...]

    @property
    def names(self) -> list[str]:
        """All files beside the page."""
        return [name for preview in self.files for name in (preview.file, preview.still)]


class TensorSize(Frozen):
    """A row of the storage table of a submission's page."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


class PayloadView(Frozen):
    """What a submission's page shows of its payload; `missing` says why it has no previews."""

    tensors: tuple[TensorSize, ...] = ()
    previews: Previews | None = None
    missing: str = ""


class Inventory(Frozen):
    """Files below the site's folder, and what was read from payloads and prepared stores to write them."""

    files: Annotated[tuple[str, ...], Field(max_length=1_000_000)] = ()
    pages: dict[str, PayloadView] = Field(default_factory=dict)  # by the page's folder; only pages that list tensors
    specs: dict[Sha256, DatasetSpec] = Field(default_factory=dict)  # by the prepared store's digest

    def to_bytes(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"

    def write(self, folder: Path) -> None:
        write_whole(folder / INVENTORY, self.to_bytes())


def parse_inventory(data: bytes) -> Inventory | None:
    """Returns None if no build of this site wrote the data."""
    try:
        return Inventory.model_validate(parse_json(data, MAX_INVENTORY_BYTES))
    except ValueError:  # pydantic's ValidationError is one
        return None


def read_inventory(folder: Path) -> Inventory:
    """The inventory of an earlier build. Returns an empty one if the file is missing or unreadable."""
    try:
        return Inventory.model_validate(read_json(folder / INVENTORY, MAX_INVENTORY_BYTES))
    except (OSError, ValueError):
        return Inventory()


def remove_built_files(folder: Path, files: Iterable[str]) -> None:
    """Removes files of an earlier build, and folders that become empty. Ignores paths that no build writes."""
    for name in files:
        if not BUILT_FILE.fullmatch(name):
            continue
        path = folder / name
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == folder or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
