"""Work that is done once and shared by methods and runs: a tensor in a file, and the cost of making it.

Experts, stills and a teacher's features are kept like this under `$VDDBENCH_HOME`. A file's name depends on everything that its
content depends on, so it is never out of date, and the file holds that name, so that one copied from another store is noticed.
A set that is learned from cached work still counts the cost.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vddbench.spec import ConfigValue
from vddbench.system.cache import cached
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


class Fresh(NamedTuple):
    """Work that was just done, with its cost."""

    tensor: torch.Tensor
    seconds: float
    clips_read: int


def work_path(folder: str, dataset: str, depends_on: list[Any]) -> Path:
    """`$VDDBENCH_HOME/FOLDER/DATASET-HASH.safetensors`, with the hash of the JSON values that the work depends on."""
    digest = hashlib.sha256(canonical_json(depends_on)).hexdigest()[:16]
    return home() / folder / f"{dataset}-{digest}.safetensors"


class Stopwatch:
    """Time that this process spent in do_once: making work, opening it, and waiting for another process that made it.

    Each work knows its own cost, so the cost of a set is the time of the run without this time, plus the costs of its works.
    """

    seconds = 0.0
    running = False

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Adds the time of a block. A block within another one is part of the outer one's time, and of its work's cost."""
        if self.running:
            yield
            return
        self.running, started = True, time.monotonic()
        try:
            yield
        finally:
            self.running = False
            self.seconds += time.monotonic() - started


STOPWATCH = Stopwatch()


def do_once(path: Path, what: str, make: Callable[[], Fresh]) -> Work:
    """Opens the file `path`. If it does not exist, writes what `make` returns; other processes wait meanwhile.

    Its time is added to STOPWATCH. Raises what `make` and `read_work` raise.
    """

    def content() -> bytes:
        fresh = make()
        about = {"seconds": str(fresh.seconds), "clips_read": str(fresh.clips_read), "name": path.stem}
        return save({TENSOR: fresh.tensor}, about)

    with STOPWATCH.measuring():
        return read_work(cached(path, content), what)


def read_work(path: Path, what: str) -> Work:
    """Opens a file without reading its tensor. The messages call the file `what`.

    Raises ValueError if the file is damaged, or if it was written under another name. Files from before names were stored in
    them are accepted as they are, because making experts again takes hours.
    """
    try:
        file = safe_open(path, "pt")
        about: dict[str, str] = file.metadata()  # type: ignore[no-untyped-call]
        tensor = OnDisk(file.get_slice(TENSOR))  # type: ignore[no-untyped-call]
        work = Work(tensor=tensor, seconds=float(about["seconds"]), clips_read=int(about["clips_read"]))
        if (name := about.get("name", path.stem)) != path.stem:
            raise ValueError(f"it holds {name[:80]!r}, made from another store or with other settings")
        return work
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{what} {path} cannot be used ({str(error)[:200]}); delete the file and run again") from error


def cost_of(kind: str, *works: Work) -> dict[str, ConfigValue]:
    """The cost of making all of them, for a manifest: KIND_seconds and KIND_clips_read."""
    return {
        f"{kind}_seconds": round(sum(work.seconds for work in works), 3),
        f"{kind}_clips_read": sum(work.clips_read for work in works),
    }
