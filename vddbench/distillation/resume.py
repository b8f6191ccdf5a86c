"""The checkpoint of an unfinished distillation: what it contains, where it is, and when a run may resume from it.

`$VDDBENCH_HOME/distill/TASK/METHOD[_PRESET][-sN]/` holds `checkpoint.safetensors` while a run is unfinished, and its curves
afterwards. The file's format is that of vddbench/evaluation/resume.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import BaseModel

from vddbench.evaluation.resume import Checkpoint, DamagedCheckpoint, OtherCheckpoint, Saved
from vddbench.spec import ConfigValue
from vddbench.system.home import home
from vddbench.system.locks import locked as file_lock

FILE = "checkpoint.safetensors"
Settings = dict[str, ConfigValue]


class Progress(BaseModel):
    """The progress of a run, without the learner's own state. Seconds and clips are totals of all its processes."""

    iteration: int = 0  # iterations done
    seconds: float = 0.0
    clips_read: int = 0
    peak_memory_bytes: int = 0  # the largest of all processes
    forced: bool = False  # started with --force: the same command resumes it after an interruption
    losses: list[float] = []  # one per iteration
    watched: list[tuple[int, float]] = []  # (iterations done, validation top-1)
    best_chosen: Settings = {}  # what the learner chose in the best set watched so far


def folder_of(task: str, submission: str) -> Path:
    return home() / "distill" / task / submission


def write(folder: Path, settings: Settings, progress: Progress, state: Mapping[str, torch.Tensor]) -> None:
    """Replaces the run's checkpoint. If the new one cannot be written, raises OSError and leaves the old one."""
    Checkpoint(folder / FILE, settings).write(progress, state)


def read(folder: Path, settings: Settings) -> Saved[Progress] | None:
    """The checkpoint of the run in `folder`; None if there is none.

    Raises ValueError if the checkpoint was saved under other settings or is damaged.
    """
    try:
        return Checkpoint(folder / FILE, settings).read(Progress)
    except OtherCheckpoint as error:
        raise ValueError(f"{error}. Finish that run with its own settings, or start again with --force") from error
    except DamagedCheckpoint as error:
        raise ValueError(f"{error}; delete the file, or start again with --force") from error


def was_forced(folder: Path, settings: Settings) -> bool:
    """Whether an unfinished run of these settings exists that was itself started with --force."""
    try:
        saved = read(folder, settings)
    except ValueError:  # damaged, or saved under other settings: --force starts again
        return False
    return saved is not None and saved.progress.forced


def drop(folder: Path) -> None:
    """Deletes the run's checkpoint, and partly written files of killed processes."""
    Checkpoint(folder / FILE, {}).remove()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the run's lock, so that one process at a time works on it. Raises ValueError if another process does."""
    try:
        with file_lock(folder / ".lock", wait=False):
            yield
    except BlockingIOError:
        raise ValueError(f"another process is distilling in {folder}; wait for it, or use another --seed") from None
