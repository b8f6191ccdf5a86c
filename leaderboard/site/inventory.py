"""What a build of the site left in its folder or Space, `built.json`: so that the next build removes pages that are no more,
makes no preview twice, and shows what it can't make where the payload is not at hand. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from vddbench.spec import DatasetSpec, Frozen, Sha256
from vddbench.system.files import replacing

NOTE = "built.json"
MAX_BYTES = 50_000_000
PLACE = r"s/[a-z0-9][a-z0-9_-]{0,79}/[a-z0-9][a-z0-9_-]{0,79}@[0-9a-f]{8}"
FILE = re.compile(rf"(?:{PLACE}/)?[a-z0-9]{{1,40}}\.(?:html|webp)")  # what a build may have written, hence remove


class PreviewFile(Frozen):
    """A preview that was made."""

    file: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,40}\.webp$")]
    label: int
    class_name: str


class Previews(Frozen):
    """Those of a submission's page, and what they follow from."""

    of: str
    shown: tuple[PreviewFile, ...]


class Tensor(Frozen):
    """A row of the storage table."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


class PayloadView(Frozen):
    """What a payload shows; `missing` says why there are no previews."""

    tensors: tuple[Tensor, ...] = ()
    previews: Previews | None = None
    missing: str = ""


class Inventory(Frozen):
    """Paths below the site's folder; what was read of payloads and prepared stores."""

    files: Annotated[tuple[str, ...], Field(max_length=1_000_000)] = ()
    pages: dict[str, PayloadView] = Field(default_factory=dict)  # by the page's folder; those with tensors
    specs: dict[Sha256, DatasetSpec] = Field(default_factory=dict)  # by the store's digest


def parsed(text: bytes) -> Inventory | None:
    """None for what no build wrote."""
    try:
        return Inventory.model_validate_json(text) if len(text) <= MAX_BYTES else None
    except ValidationError:
        return None


def read(out: Path) -> Inventory:
    """Of an earlier build; an empty one where there is none that can be read."""
    note = out / NOTE
    if not note.is_file() or note.stat().st_size > MAX_BYTES:
        return Inventory()
    return parsed(note.read_bytes()) or Inventory()


def text_of(built: Inventory) -> bytes:
    return built.model_dump_json(indent=1).encode() + b"\n"


def write(out: Path, built: Inventory) -> None:
    with replacing(out / NOTE) as file:
        file.write(text_of(built))


def remove(out: Path, files: Iterable[str]) -> None:
    """Files of an earlier build and the folders that are empty then. Anything that no build writes is left alone."""
    for name in files:
        if not FILE.fullmatch(name):
            continue
        path = out / name
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == out or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
