"""Where an unfinished distillation is kept: one safetensors file, replaced whole. No pickle, so resuming runs no code.

`$VDDBENCH_HOME/distill/TASK/METHOD[_PRESET][-sN]/` holds `checkpoint.safetensors` while a run is unfinished, and the
curves after it.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vddbench.spec import ConfigValue
from vddbench.system.files import replacing
from vddbench.system.home import home

FILE = "checkpoint.safetensors"
FORMAT = "2"  # of a checkpoint and of what learners keep in it
Settings = dict[str, ConfigValue]


@dataclass
class Progress:
    """How far a run is, beside the learner's own state. Seconds are of all processes that worked on it."""

    iteration: int = 0  # iterations done
    seconds: float = 0.0
    clips_read: int = 0
    peak_memory_bytes: int = 0  # the most of any process
    forced: bool = False  # begun with --force: the same command, interrupted, then goes on with it
    losses: list[float] = field(default_factory=list)  # one an iteration
    watched: list[tuple[int, float]] = field(default_factory=list)  # (iterations done, validation top-1)
    best_chosen: Settings = field(default_factory=dict)  # what the learner chose in the best set watched so far


def folder_of(task: str, submission: str) -> Path:
    return home() / "distill" / task / submission


def write(folder: Path, settings: Settings, progress: Progress, state: Mapping[str, torch.Tensor]) -> None:
    about = {
        "iteration": progress.iteration,
        "seconds": progress.seconds,
        "clips_read": progress.clips_read,
        "peak_memory_bytes": progress.peak_memory_bytes,
        "forced": progress.forced,
        "watched": progress.watched,
        "best_chosen": progress.best_chosen,
    }
    tensors = {name: value.cpu().contiguous() for name, value in state.items()}
    tensors["losses"] = torch.tensor(progress.losses, dtype=torch.float64)
    metadata = {"format": FORMAT, "settings": json.dumps(settings), "progress": json.dumps(about)}
    with replacing(folder / FILE) as file:
        file.write(save(tensors, metadata))


def read(folder: Path, settings: Settings) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """None when there is none. Raises ValueError when the unfinished run there has other settings or its file is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if metadata["format"] != FORMAT:
            raise ValueError(f"it has format {metadata['format'][:20]}, this version writes {FORMAT}")
        found: Settings = json.loads(metadata["settings"])
        about = json.loads(metadata["progress"])
        progress = Progress(
            iteration=int(about["iteration"]),
            seconds=float(about["seconds"]),
            clips_read=int(about["clips_read"]),
            peak_memory_bytes=int(about["peak_memory_bytes"]),
            forced=bool(about["forced"]),
            losses=tensors.pop("losses").tolist(),
            watched=[(int(i), float(top1)) for i, top1 in about["watched"]],
            best_chosen=dict(about["best_chosen"]),
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({str(error)[:200]}); start anew with --force") from error
    differ = [
        f"{k} {found.get(k)!r} there, {settings.get(k)!r} asked"
        for k in {**found, **settings}
        if found.get(k) != settings.get(k)
    ]
    if differ:
        raise ValueError(
            f"{path} is of an unfinished run with other settings: {'; '.join(sorted(differ)[:5])}. "
            "Finish that run with its own settings, or start anew with --force"
        )
    return progress, tensors


def was_forced(folder: Path, settings: Settings) -> bool:
    """Is there an unfinished run of these settings that was itself begun with --force?"""
    try:
        found = read(folder, settings)
    except ValueError:  # damaged, or of other settings: what --force is for
        return False
    return found is not None and found[0].forced


def drop(folder: Path) -> None:
    """With what killed processes left of their writing."""
    for left in [folder / FILE, *folder.glob(f".{FILE}.*.part")]:
        left.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process a run; the lock goes with the process. Raises ValueError when another one is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is distilling in {folder}; wait for it, or use another --seed") from None
        yield
