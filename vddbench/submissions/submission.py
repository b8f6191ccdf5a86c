"""Opens a submission, `submissions/TASK/METHOD/{data.safetensors, manifest.json}`, and makes all its checks in a fixed order.

`check`, `evaluate`, `submit`, `verify` and the site start here, so they accept and refuse the same submissions. A submission
comes from a stranger: sizes are bounded before anything is read, bytes and hashes are measured, nothing is executed.
`open_submission` makes checks 1 to 6 and `OpenedSubmission.decode` check 7 (rules.py has the rules of this room); a failed
check does not stop the later ones:

1. `manifest.json` is a regular file of the folder and a valid Manifest (manifest.py)
2. the folder is the manifest's TASK/METHOD[-sN], and the dataset is known
3. the header of `data.safetensors` describes the file exactly (payload.py)
4. the tensors are within the budget of the task
5. the file has the manifest's SHA-256
6. the set was distilled from the data in the prepared store, if there is one
7. the decoder exists, the clips would fit into memory, the decoder accepts the tensors and labels, the label track matches,
   values and contrast are those of video, no clip has several hard labels
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from vddbench import lookup
from vddbench.data.store import Store, store_path
from vddbench.spec import ClipSet, DatasetSpec, Manifest, Submission, Task
from vddbench.submissions import payload
from vddbench.submissions.manifest import MANIFEST, data_file, read_manifest
from vddbench.submissions.rules import (
    check_bytes,
    check_expansion,
    check_one_label_each,
    check_place,
    check_sha256,
    check_store,
    check_values,
    max_file_bytes,
)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(kw_only=True)
class OpenedSubmission:
    """What could be read of a submission, and every failed check. A field is None if it could not be read."""

    folder: Path  # links resolved
    spec: DatasetSpec | None = None
    store: Store | None = None  # also None if the dataset is not prepared here
    manifest: Manifest | None = None
    task: Task | None = None
    entries: tuple[payload.Entry, ...] = ()  # the tensors as the payload's header lists them
    tensors: Mapping[str, torch.Tensor] | None = None  # memory-mapped: pages are read when they are used
    is_too_large: bool = False  # then the payload was neither hashed nor mapped
    errors: list[Exception] = field(default_factory=list)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for refusing the submission, one line each. Empty as long as no check failed."""
        return tuple(dict.fromkeys(line for error in self.errors for line in str(error).splitlines()))

    def attempt(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The result of a check. Returns None if it fails, and keeps its error as a reason."""
        try:
            return step(*args, **kwargs)
        except (ValueError, LookupError, OSError) as error:
            if isinstance(error, KeyError | IndexError):  # a bug of ours, not a fault of the submission
                raise
            self.errors.append(error)
            return None

    def decode(self) -> ClipSet | None:
        """The clips a student sees (check 7). Returns None if they cannot be decoded, and keeps the decoder's problems."""
        if self.manifest is None or self.spec is None or self.tensors is None:
            return None
        return self.attempt(decode, Submission(path=self.folder, manifest=self.manifest, tensors=self.tensors), self.spec)

    def accepted(self) -> Submission:
        """The submission. Raises ValueError with every reason if a check failed, OSError if a file could not be read."""
        for error in self.errors:
            if isinstance(error, OSError):  # a fault of the disk or the folder; a cluster tries again later
                raise error
        if self.errors:
            raise ValueError("\n".join([f"{self.folder} is refused:", *self.reasons])) from self.errors[0]
        assert self.manifest is not None and self.tensors is not None
        return Submission(path=self.folder, manifest=self.manifest, tensors=self.tensors)


def open_submission(path: Path, spec: DatasetSpec | None = None, store: Store | None = None) -> OpenedSubmission:
    """Opens a submission, given its folder or manifest file, and makes every check that needs no decoding.

    The payload's file is hashed once and memory-mapped. store: the prepared store to compare with; if omitted, the one of
    the submission's dataset. spec: the dataset, for a caller that wants no comparison with a store. Raises
    FileNotFoundError if there is no such folder; whatever else is wrong is in `errors`.
    """
    opened = OpenedSubmission(folder=folder_of(path), spec=spec or (store.spec if store else None), store=store)
    attempt, folder = opened.attempt, opened.folder
    opened.manifest = manifest = attempt(read_manifest, folder)
    if manifest:
        attempt(check_place, folder, manifest)
    opened.task = task = manifest.task if manifest else attempt(Task.parse, folder.parent.name)
    if task and opened.spec is None:
        if store_path(task.dataset).is_dir():
            opened.store = attempt(Store.open, task.dataset)
        opened.spec = opened.store.spec if opened.store else attempt(spec_of, task.dataset)
    data = attempt(data_file, folder)
    if data:
        _open_payload(opened, data)
    if manifest and opened.store:
        attempt(check_store, manifest, opened.store.id)
    return opened


def _open_payload(opened: OpenedSubmission, data: Path) -> None:
    """Checks 3 to 5. If the file is so large that check 3 or 4 must fail, it is not read any further."""
    attempt, task, spec = opened.attempt, opened.task, opened.spec
    opened.entries = tuple(attempt(payload.entries, data) or ())
    if task and spec:
        attempt(check_bytes, opened.entries, task, spec)
        longest = max_file_bytes(task, spec)
        opened.is_too_large = longest is not None and data.stat().st_size > longest
    if opened.is_too_large:
        return
    if opened.manifest:
        attempt(check_sha256, opened.folder, opened.manifest)
    if opened.entries:
        opened.tensors = attempt(payload.load, data)


def read(path: Path, spec: DatasetSpec | None = None) -> Submission:
    """Reads a submission that passes every check which needs no decoding. Raises as `OpenedSubmission.accepted` does."""
    return open_submission(path, spec).accepted()


def load_clips(path: str | Path) -> ClipSet:
    """The clips of a submission as a student sees them: [N, T, H, W, 3] on the 0-255 scale, with their labels.

    Makes every check of `vddbench check`. Raises ValueError with all reasons if the submission is refused, FileNotFoundError if
    there is none.
    """
    opened = open_submission(Path(path))
    clip_set = opened.decode()
    opened.accepted()
    assert clip_set is not None  # else decoding has left a reason, and accepted() has raised it
    return clip_set


def spec_of(dataset: str) -> DatasetSpec:
    """The spec of the prepared store; without a store, the spec in the dataset's file, so that `check` needs no videos."""
    if dataset in lookup.names("dataset") and not store_path(dataset).is_dir():
        return lookup.load("dataset", dataset).SPEC
    return Store.open(dataset).spec


def folder_of(path: Path) -> Path:
    """The folder of a submission, links resolved so that its name can be compared. Raises FileNotFoundError."""
    folder = Path(os.path.realpath(path.parent if path.name == MANIFEST else path))
    if not folder.is_dir():
        made = f"; vddbench pack {path} makes one of a file of clips" if folder.is_file() else ""
        raise FileNotFoundError(f"no submission at {path}: give a folder submissions/TASK/METHOD{made}")
    if not (folder / MANIFEST).exists() and (inside := sorted(file.parent.name for file in folder.glob(f"*/{MANIFEST}"))):
        more = f" and {len(inside) - 20} more" if len(inside) > 20 else ""
        raise FileNotFoundError(f"{path} is a folder of submissions; give one of them: {', '.join(inside[:20])}{more}")
    return folder


def task_of(path: Path) -> Task:
    """The task by the name of the folder that holds the submission; nothing in the submission is read."""
    return Task.parse(folder_of(path).parent.name)


def decode(submission: Submission, spec: DatasetSpec) -> ClipSet:
    """The clips a student sees. Raises ValueError or LookupError with every problem the decoder finds."""
    manifest, tensors = submission.manifest, submission.tensors
    decoder = lookup.load("decoder", manifest.decoder)
    check_expansion(tensors, decoder, manifest.task, spec)
    clip_set = decoder.decode(tensors, spec)
    track = "hard" if clip_set.labels.ndim == 1 else "soft"
    if track != manifest.labels:
        raise ValueError(f"{MANIFEST}: field 'labels' says {manifest.labels!r}, the tensors hold {track!r} labels; correct it")
    if tuple(clip_set.clips.shape) != (len(clip_set.labels), *spec.clip_shape):
        raise ValueError(
            f"decoder {manifest.decoder!r} made clips {list(clip_set.clips.shape)} for {len(clip_set.labels)} labels; "
            f"allowed: [N, {', '.join(map(str, spec.clip_shape))}]"
        )
    check_values(clip_set.clips)
    if manifest.task.ipc is not None:  # the videos of a dataset may have copies; nobody chose them
        check_one_label_each(clip_set)
    return clip_set
