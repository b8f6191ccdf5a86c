"""Reads, checks and writes submissions: `submissions/TASK/METHOD/{data.safetensors, manifest.json}`.

The path is the identity: the manifest repeats it and reading refuses one that disagrees. A submission is a stranger's
data: sizes are bounded before anything is read, bytes and hashes are measured, nothing is executed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from vddbench import lookup
from vddbench.data.fingerprint import NO_STORE, StoreId, same_data
from vddbench.data.store import Store, prepared_names, store_path
from vddbench.spec import ClipSet, ConfigValue, DatasetSpec, Manifest, Submission, Task
from vddbench.submissions import payload
from vddbench.submissions.manifest import DATA, MANIFEST, field_problems, inside, read_manifest
from vddbench.system.files import replacing, sha256_file

UNMEASURED = "0" * 64  # the sha256 of a draft, before `write` measures it
MAX_DECODED_BYTES = 16 * 10**9  # a workstation's memory; a payload that is larger itself is not expanded further
MAX_EXPANSION = 64  # decoded uint8 bytes over the budget; JPEG of a UCF101 clip: 18 at quality 50, 57 at quality 5


def spec_of(dataset: str) -> DatasetSpec:
    """The spec of a prepared store; without one, of the dataset's file, so that `check` needs no videos."""
    if store_path(dataset).is_dir():
        return Store.open(dataset).spec
    if dataset in lookup.names("dataset"):
        spec = lookup.load("dataset", dataset).SPEC
        assert isinstance(spec, DatasetSpec)
        return spec
    known = sorted({*lookup.names("dataset"), *prepared_names()})
    raise LookupError(lookup.unknown("dataset", dataset, known) + f"; your own: vddbench prepare {dataset} --folder DIR")


def read(path: Path, spec: DatasetSpec | None = None) -> Submission:
    """A submission from its folder or manifest file. Raises ValueError, LookupError or FileNotFoundError."""
    folder = folder_of(path)
    manifest = read_manifest(folder)
    check_place(folder, manifest)
    spec = spec or spec_of(manifest.task.dataset)
    check_bytes(payload.entries(data_file(folder)), manifest.task, spec)
    check_sha256(folder, manifest)
    return Submission(path=folder, manifest=manifest, tensors=payload.load(data_file(folder)))


def folder_of(path: Path) -> Path:
    """The real folder, links followed, so that its name can be compared. Raises FileNotFoundError."""
    folder = (path.parent if path.name == MANIFEST else path).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"no submission at {path}: give a folder submissions/TASK/METHOD")
    return folder


def task_of(path: Path) -> Task:
    """The task that the folder's place says, before anything in it is read."""
    return Task.parse(folder_of(path).parent.name)


def data_file(folder: Path) -> Path:
    return inside(folder, DATA)


def check_place(folder: Path, manifest: Manifest) -> None:
    """Raises ValueError unless the folder is its manifest's TASK/METHOD, or TASK/METHOD-sN for seed N > 0."""
    found, due = f"{folder.parent.name}/{folder.name}", f"{manifest.task}/{manifest.folder}"
    if found != due:
        raise ValueError(
            f"the folder is {found} but its manifest says task '{manifest.task}', method {manifest.method!r}, seed "
            f"{manifest.seed}: it must lie in {due}; move the folder or correct the manifest"
        )


def check_store(manifest: Manifest, store: StoreId) -> None:
    """Raises ValueError for a set distilled from another preparation of the data: other videos, geometry or recipe. Other bytes
    of the same videos, from another version of FFmpeg, are no other preparation."""
    if manifest.store_digest is not None and not same_data(manifest, store):
        raise ValueError(
            f"{MANIFEST}: field 'store_digest' names the prepared store {str(manifest.store_digest)[:16]}, the one here is "
            f"{str(store.store_digest)[:16]}: distill it again from this one, or prepare the data as it was"
        )


def check_bytes(found: Iterable[payload.Entry], task: Task, spec: DatasetSpec) -> None:
    """Raises ValueError with the byte table when the payload is over budget by one byte."""
    budget = task.budget_bytes(spec)
    rows = sorted(((e.num_bytes, e) for e in found), key=lambda row: -row[0])
    total = sum(size for size, _ in rows)
    if budget is None or total <= budget:
        return
    table = "; ".join(f"{e.name[:40]!r} {list(e.shape)} {str(e.dtype).removeprefix('torch.')} {size:,}" for size, e in rows[:8])
    raise ValueError(
        f"payload of {total:,} bytes is {total - budget:,} over the budget of {task}: {budget:,} bytes = {task.ipc} x "
        f"{spec.num_classes} classes x ({spec.clip_bytes:,} + 8). Every tensor counts: {table}. "
        "Store fewer clips or a narrower dtype (uint8 pixels, uint8 or int16 labels)"
    )


def check_sha256(folder: Path, manifest: Manifest) -> None:
    measured = sha256_file(data_file(folder))
    if measured != manifest.sha256:
        raise ValueError(
            f"{DATA} has sha256 {measured}, its manifest says {manifest.sha256}: the payload was changed or damaged "
            "after it was written; download it again or write the submission again"
        )


def decode(submission: Submission, spec: DatasetSpec) -> ClipSet:
    """The clips a student sees. Raises ValueError or LookupError with every problem the decoder finds."""
    manifest, tensors = submission.manifest, submission.tensors
    decoder = lookup.load("decoder", manifest.decoder)
    check_expansion(tensors, manifest.task, spec)
    clip_set: ClipSet = decoder.decode(tensors, spec)
    track = "hard" if clip_set.labels.ndim == 1 else "soft"
    if track != manifest.labels:
        raise ValueError(f"{MANIFEST}: field 'labels' says {manifest.labels!r}, the tensors hold {track!r} labels; correct it")
    if tuple(clip_set.clips.shape) != (len(clip_set.labels), *spec.clip_shape):
        raise ValueError(
            f"decoder {manifest.decoder!r} made clips {list(clip_set.clips.shape)} for {len(clip_set.labels)} labels; "
            f"allowed: [N, {', '.join(map(str, spec.clip_shape))}]"
        )
    return clip_set


def check_expansion(tensors: Mapping[str, torch.Tensor], task: Task, spec: DatasetSpec) -> None:
    """Bounds the decoded clips before any is made: every decoder's `labels` have one row a clip."""
    if "labels" not in tensors or tensors["labels"].ndim == 0:
        return  # the decoder names it
    stored = sum(t.numel() * t.element_size() for t in tensors.values())
    most = max(stored, min(MAX_EXPANSION * (task.budget_bytes(spec) or stored), MAX_DECODED_BYTES))
    num_clips = len(tensors["labels"])
    if num_clips * spec.clip_bytes > most:
        raise ValueError(
            f"payload decodes to {num_clips:,} clips = {num_clips * spec.clip_bytes:,} bytes; allowed: "
            f"{most // spec.clip_bytes:,} clips, {MAX_EXPANSION} times the budget and {MAX_DECODED_BYTES:,} bytes; store fewer"
        )


def write(
    root: Path,
    tensors: Mapping[str, torch.Tensor],
    *,
    method: str,
    task: Task,
    decoder: str,
    seed: int = 0,
    labels: Literal["hard", "soft"] | None = None,
    config: Mapping[str, ConfigValue] | None = None,
    authors: Sequence[str] = (),
    paper: str = "",
    code: str = "",
    external_data: str = "",
    holdout: bool = False,
    distill_seconds: float | None = None,
    distill_hardware: str = "",
    distill_peak_memory_bytes: int | None = None,
    distill_clips_read: int | None = None,
    store: StoreId = NO_STORE,
    spec: DatasetSpec | None = None,
    force: bool = False,
) -> Path:
    """Writes `root/TASK/METHOD` (METHOD-sN for seed N > 0) and returns it. The keywords are the fields of `Manifest`;
    `labels` comes from the tensors when not given, and the spec from the prepared store.

    Everything is checked first, as `read` and `decode` will. The same submission again is left as it stands. Raises
    ValueError when the tensors are refused or another submission stands there and not `force`, OSError when the disk is
    full or not writable; a manifest never stands beside data that isn't its own.
    """
    try:
        draft = Manifest(
            method=method,
            task=task,
            seed=seed,
            decoder=decoder,
            labels=labels or ("soft" if "labels" in tensors and tensors["labels"].ndim == 2 else "hard"),
            sha256=UNMEASURED,
            config=dict(config or {}),
            authors=tuple(authors),
            paper=paper,
            code=code,
            external_data=external_data,
            holdout=holdout,
            distill_seconds=distill_seconds,
            distill_hardware=distill_hardware,
            distill_peak_memory_bytes=distill_peak_memory_bytes,
            distill_clips_read=distill_clips_read,
            store_digest=store.store_digest,
            store_fingerprint=store.store_fingerprint,
        )
    except ValidationError as error:
        raise ValueError("\n".join(field_problems(error))) from error
    return _write_checked(root, draft, tensors, spec or spec_of(draft.task.dataset), force)


def _write_checked(root: Path, draft: Manifest, tensors: Mapping[str, torch.Tensor], spec: DatasetSpec, force: bool) -> Path:
    check_bytes(payload.described(tensors), draft.task, spec)
    folder = root / str(draft.task) / draft.folder
    decode(Submission(path=folder, manifest=draft, tensors=tensors), spec)
    manifest = draft.model_copy(update={"sha256": payload.sha256(tensors)})
    if (folder / MANIFEST).exists():
        if _same(folder, manifest):
            return folder
        if not force:
            raise ValueError(
                f"{folder} holds another submission; use another method name or distillation seed, or --force to replace it"
            )
    _write_files(folder, manifest, tensors)
    return folder


def _same(folder: Path, manifest: Manifest) -> bool:
    """Is this submission already there, whole? What distilling took may differ."""
    clock: dict[str, object] = {
        "distill_seconds": None,
        "distill_hardware": "",
        "distill_peak_memory_bytes": None,
        "distill_clips_read": None,
    }
    folder = folder.resolve()  # as reading does: a link out of a relative one could not be told
    try:
        there = read_manifest(folder)
        same = there.model_copy(update=clock) == manifest.model_copy(update=clock)
        return same and sha256_file(data_file(folder)) == manifest.sha256
    except (ValueError, OSError):
        return False


def _write_files(folder: Path, manifest: Manifest, tensors: Mapping[str, torch.Tensor]) -> None:
    """Data first, manifest last. An old manifest goes when the new data is on disk, just before it takes its place."""
    try:
        with replacing(folder / DATA) as file:
            payload.write(file, tensors)
            file.flush()
            os.fsync(file.fileno())  # a full disk shows here, while an old submission is still whole
            (folder / MANIFEST).unlink(missing_ok=True)
        with replacing(folder / MANIFEST) as file:
            file.write(manifest.model_dump_json(indent=2).encode() + b"\n")
    except BaseException as error:
        _clear(folder)
        if isinstance(error, OSError):
            size = sum(t.numel() * t.element_size() for t in tensors.values())
            raise OSError(
                error.errno,
                f"cannot write the submission to {folder} ({error.strerror or error}): it needs {size:,} bytes in a "
                "writable folder; nothing half-written was kept",
            ) from error
        raise


def _clear(folder: Path) -> None:
    """Removes data without a manifest and the folders that are empty then."""
    with contextlib.suppress(OSError):
        if not (folder / MANIFEST).exists():
            (folder / DATA).unlink(missing_ok=True)
        folder.rmdir()  # only when empty
        folder.parent.rmdir()
