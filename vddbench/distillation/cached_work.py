"""Work that is done once and shared by methods and runs: a tensor in a file, and the cost of making it.

Experts, stills and a teacher's features are kept like this under `$VDDBENCH_HOME`. A file's name depends on everything that its
content depends on, so it is never out of date. A set that is learned from cached work still counts the cost.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vddbench.spec import ConfigValue
from vddbench.system.files import canonical_json
from vddbench.system.home import home

TENSOR = "work"


class OnDisk:
    """A tensor in a file. Indexing reads that part of it, nothing else: work.tensor[3], work.tensor[:]."""

    def __init__(self, part_of: Any) -> None:
        """part_of: a slice of safetensors."""
        self.part_of = part_of

    def __getitem__(self, index: Any) -> torch.Tensor:
        # A copy, because where a part begins in memory depends on the length of the file's header, that is on how many digits
        # `seconds` has, and matrix products of some processors round differently at another alignment.
        part: torch.Tensor = self.part_of[index]
        return part.clone()


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a file holds."""

    tensor: OnDisk
    seconds: float  # time that making it took, in this or an earlier run
    clips_read: int


def work_path(folder: str, dataset: str, depends_on: list[Any]) -> Path:
    """`$VDDBENCH_HOME/FOLDER/DATASET-HASH.safetensors`, with the hash of the JSON values that the work depends on."""
    digest = hashlib.sha256(canonical_json(depends_on)).hexdigest()[:16]
    return home() / folder / f"{dataset}-{digest}.safetensors"


def work_bytes(tensor: torch.Tensor, seconds: float, clips_read: int, name: str | None = None) -> bytes:
    """The file's content. name: stored in the file, so that `read_work` notices a file that was renamed or copied."""
    named = {} if name is None else {"name": name}
    return save({TENSOR: tensor}, {"seconds": str(seconds), "clips_read": str(clips_read), **named})


def read_work(path: Path, what: str, name: str | None = None) -> Work:
    """Opens a file without reading its tensor. The messages call the file `what`.

    Raises ValueError if the file is damaged, or if it was made under another name than `name`.
    """
    try:
        file = safe_open(path, "pt")
        about: dict[str, str] = file.metadata()  # type: ignore[no-untyped-call]
        tensor = OnDisk(file.get_slice(TENSOR))  # type: ignore[no-untyped-call]
        if name is not None and about["name"] != name:
            raise ValueError(f"it holds {about['name'][:80]!r}, made from another store or with other settings")
        return Work(tensor=tensor, seconds=float(about["seconds"]), clips_read=int(about["clips_read"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{what} {path} cannot be used ({str(error)[:200]}); delete the file and run again") from error


def cost_of(kind: str, *works: Work) -> dict[str, ConfigValue]:
    """The cost of making all of them, for a manifest: KIND_seconds and KIND_clips_read."""
    return {
        f"{kind}_seconds": round(sum(work.seconds for work in works), 3),
        f"{kind}_clips_read": sum(work.clips_read for work in works),
    }
