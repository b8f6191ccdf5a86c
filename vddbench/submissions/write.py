"""Writes submissions, whole or not at all, after the checks that are repeated when they are read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from vddbench.spec import ClipSet, DatasetSpec, Manifest, Submission
from vddbench.submissions import payload
from vddbench.submissions.manifest import DATA, MANIFEST, data_file, read_manifest
from vddbench.submissions.rules import check_bytes
from vddbench.submissions.submission import decode, spec_of
from vddbench.system.files import replacing, sha256_file, write_whole

COST_FIELDS = ("distill_seconds", "distill_hardware", "distill_peak_memory_bytes", "distill_clips_read")  # differ by run


@dataclass(frozen=True, kw_only=True)
class CheckedDraft:
    """A submission that would be accepted and is not written yet."""

    manifest: Manifest  # with the SHA-256 of the tensors
    tensors: Mapping[str, torch.Tensor]
    clip_set: ClipSet  # what the tensors decode to


def write(
    root: Path, tensors: Mapping[str, torch.Tensor], draft: Manifest, *, spec: DatasetSpec | None = None, force: bool = False
) -> Path:
    """Checks a submission and writes it to `root/TASK/METHOD` (METHOD-sN for seed N > 0), which is returned.

    draft: the manifest, see `manifest.UNMEASURED` and `manifest.readable_errors`. spec: the dataset if it is not
    prepared. Raises as `checked` and `save` do.
    """
    return save(root, checked(tensors, draft, spec or spec_of(draft.task.dataset)), force=force)


def checked(tensors: Mapping[str, torch.Tensor], draft: Manifest, spec: DatasetSpec) -> CheckedDraft:
    """Makes the checks of the budget and of decoding, and measures the SHA-256. Raises ValueError or LookupError."""
    check_bytes(payload.described(tensors), draft.task, spec)
    clip_set = decode(Submission(path=Path(str(draft.task), draft.folder), manifest=draft, tensors=tensors), spec)
    manifest = draft.model_copy(update={"sha256": payload.sha256(tensors)})
    return CheckedDraft(manifest=manifest, tensors=tensors, clip_set=clip_set)


def save(root: Path, draft: CheckedDraft, *, force: bool = False) -> Path:
    """Writes a checked submission and returns its folder. If the folder holds the same submission, nothing is written.

    Raises ValueError if the folder holds another submission and not `force`, OSError if the disk is full or not writable.
    A manifest never exists beside data that is not its own, even if the process is killed.
    """
    folder = root / str(draft.manifest.task) / draft.manifest.folder
    if (folder / MANIFEST).exists():
        if holds(folder, draft.manifest):
            return folder
        if not force:
            raise ValueError(
                f"{folder} holds another submission; use another method name or distillation seed, or --force to replace it"
            )
    try:
        _write_files(folder, draft)
    except BaseException as error:
        _remove_incomplete(folder)
        if isinstance(error, OSError):
            raise OSError(
                error.errno,
                f"cannot write the submission to {folder} ({error.strerror or error}): it needs "
                f"{payload.num_bytes(draft.tensors):,} bytes in a writable folder; nothing half-written was kept",
            ) from error
        raise
    return folder


def same_bytes(root: Path, manifest: Manifest) -> str | None:
    """A warning if another seed of this method has the same payload in `root/TASK`, else None.

    manifest: of the set that was written, with its SHA-256. Equal bytes are one distillation, however often they are stored.
    Manifests that cannot be read are skipped.
    """
    folder = root / str(manifest.task)
    same = []
    for path in (folder / manifest.method, *folder.glob(f"{manifest.method}-s*")):
        with contextlib.suppress(ValueError, OSError):
            other = read_manifest(path.resolve())
            if (other.method, other.sha256) == (manifest.method, manifest.sha256) and other.seed != manifest.seed:
                same.append(other.seed)
    if not same:
        return None
    seeds = ", ".join(map(str, sorted(same)[:5])) + (", ..." if len(same) > 5 else "")
    return (
        f"seed {manifest.seed} of {manifest.method} has the same bytes as seed {seeds}: tables count equal bytes as one "
        "distillation. Either the method does not depend on its seed, or one file was written twice"
    )


def holds(folder: Path, manifest: Manifest) -> bool:
    """Whether the folder holds this submission, undamaged. The costs of distilling may differ."""
    folder = folder.resolve()  # as `read_manifest` expects
    try:
        fields = read_manifest(folder).model_dump(exclude={*COST_FIELDS})
        return fields == manifest.model_dump(exclude={*COST_FIELDS}) and sha256_file(data_file(folder)) == manifest.sha256
    except (ValueError, OSError):
        return False


def _write_files(folder: Path, draft: CheckedDraft) -> None:
    """Writes data, then the manifest. An old manifest is removed when the new data is on disk, just before it takes effect."""
    with replacing(folder / DATA) as file:
        payload.write(file, draft.tensors)
        file.flush()
        os.fsync(file.fileno())  # a full disk shows here, while an old submission is still whole
        (folder / MANIFEST).unlink(missing_ok=True)
    write_whole(folder / MANIFEST, draft.manifest.model_dump_json(indent=2).encode() + b"\n")


def _remove_incomplete(folder: Path) -> None:
    """Removes data without a manifest, and the folders if they are empty then."""
    with contextlib.suppress(OSError):
        if not (folder / MANIFEST).exists():
            (folder / DATA).unlink(missing_ok=True)
        folder.rmdir()  # fails unless empty
        folder.parent.rmdir()
