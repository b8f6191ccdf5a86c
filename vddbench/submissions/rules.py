"""The rules that a submission must keep, one function each. submission.py applies them in order.

A rule raises ValueError, whose message says what is wrong, what was found, what is allowed and what to do. The rules for a
payload's file format are in payload.py, for a manifest's fields in spec.py, for a decoder's tensors in tensors.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from vddbench.data.fingerprint import StoreId, same_data
from vddbench.spec import IPCS, ClipSet, DatasetSpec, Manifest, Task
from vddbench.submissions import payload
from vddbench.submissions.decoders import DecoderModule
from vddbench.submissions.manifest import DATA, MANIFEST, data_file
from vddbench.submissions.tensors import AFFINE, value_range
from vddbench.system.files import sha256_file

MAX_DECODED_BYTES = 16 * 10**9  # a workstation's memory; a larger payload may decode to at most its own size
# Memory of the decoded clips over the budget, unless the decoder has a MAX_EXPANSION of its own. JPEG of a UCF101 clip: 18 at
# quality 50, 57 at quality 5. static_dynamic, from uint8 to float32: 20 for 2 x 2 pairs a slot, as published, 40 for 4 x 4.
MAX_EXPANSION = 64
MAX_EXCESS = 5 * 255.0  # learned sets reached -247 to 506 (mtt_smoke), noise of unit variance, normalised, -150 to 400
SMALLER = "Store fewer clips or a narrower dtype (uint8 pixels, uint8 or int16 labels)"


def check_place(folder: Path, manifest: Manifest) -> None:
    """Raises ValueError unless the folder is its manifest's TASK/METHOD, or TASK/METHOD-sN for seed N > 0."""
    actual, expected = f"{folder.parent.name}/{folder.name}", f"{manifest.task}/{manifest.folder}"
    if actual != expected:
        raise ValueError(
            f"the folder is {actual} but its manifest says task '{manifest.task}', method {manifest.method!r}, seed "
            f"{manifest.seed}: it must lie in {expected}; move the folder or correct the manifest"
        )


def check_store(manifest: Manifest, store: StoreId) -> None:
    """Raises ValueError if the set was distilled from another preparation of the data: other videos, geometry or recipe.

    The same videos decoded by another version of FFmpeg differ in bytes and still count as the same data.
    """
    if manifest.store_digest is not None and not same_data(manifest, store):
        raise ValueError(
            f"{MANIFEST}: field 'store_digest' names the prepared store {str(manifest.store_digest)[:16]}, the one here is "
            f"{str(store.store_digest)[:16]}: distill it again from this one, or prepare the data as it was"
        )


def max_file_bytes(task: Task, spec: DatasetSpec) -> int | None:
    """The size of the largest `data.safetensors` that can be accepted. None if the task has no budget."""
    budget = task.budget_bytes(spec)
    return None if budget is None else 8 + payload.MAX_HEADER_BYTES + budget  # 8: the length of the header


def check_bytes(entries: Iterable[payload.Entry], task: Task, spec: DatasetSpec) -> None:
    """Raises ValueError with the size of every tensor if the payload is a byte or more over the budget."""
    budget = task.budget_bytes(spec)
    rows = sorted(entries, key=lambda entry: -entry.num_bytes)
    total = sum(entry.num_bytes for entry in rows)
    if budget is None or total <= budget:
        return
    table = "; ".join(f"{e.name[:40]!r} {list(e.shape)} {payload.dtype_name(e.dtype)} {e.num_bytes:,}" for e in rows[:8])
    raise ValueError(
        f"payload of {total:,} bytes is {total - budget:,} over the budget of {task}: {budget:,} bytes = {task.ipc} x "
        f"{spec.num_classes} classes x ({spec.clip_bytes:,} + 8). Every tensor counts: {table}. "
        + (_room_for_soft_labels({row.name: row for row in rows}, total - budget, spec) or _smaller(rows, task, spec))
    )


def _smaller(entries: Iterable[payload.Entry], task: Task, spec: DatasetSpec) -> str:
    """What to do about a payload that is too large: another task if the clips per class are those of one, else less data."""
    by_name = {entry.name: entry for entry in entries}
    if "clips" in by_name and by_name["clips"].shape:
        per_class, rest = divmod(by_name["clips"].shape[0], spec.num_classes)
        if not rest and per_class in IPCS and per_class != task.ipc:
            return f"{per_class} clips per class: did you mean --task {task.dataset}-ipc{per_class}? If not, store fewer clips"
    is_narrow = all(entry.dtype.itemsize == 1 or name in AFFINE for name, entry in by_name.items())
    return "Store fewer clips" if is_narrow else SMALLER


def _room_for_soft_labels(entries: Mapping[str, payload.Entry], excess: int, spec: DatasetSpec) -> str | None:
    """What to do if plain clips would fit with hard labels and their probabilities do not. Returns None otherwise."""
    clips, labels = entries.get("clips"), entries.get("labels")
    if clips is None or labels is None or len(labels.shape) != 2 or not entries.keys() <= {"clips", "labels", *AFFINE}:
        return None
    num_clips = labels.shape[0]
    index_bytes = 1 if spec.num_classes <= 256 else 2
    if labels.num_bytes - num_clips * index_bytes < excess:
        return None
    times_bytes = num_clips * 2 * (spec.frames - 1)
    dropped = "`pack --drop-last-frame` stores T - 1 frames, of which a student sees the last one twice, and keeps the labels; "
    return (
        f"The budget has 8 bytes for the label of a clip; these probabilities take {labels.num_bytes // num_clips}. "
        + (dropped if clips.num_bytes // spec.frames - times_bytes >= excess else "")
        + "`pack --labels-as argmax` keeps only each clip's class (track hard); or store fewer clips"
    )


def check_sha256(folder: Path, manifest: Manifest) -> None:
    """Raises ValueError unless the payload has the hash that the manifest states."""
    measured = sha256_file(data_file(folder))
    if measured != manifest.sha256:
        raise ValueError(
            f"{DATA} has sha256 {measured}, its manifest says {manifest.sha256}: the payload was changed or damaged "
            "after it was written; download it again or write the submission again"
        )


def check_expansion(tensors: Mapping[str, torch.Tensor], decoder: DecoderModule, task: Task, spec: DatasetSpec) -> None:
    """Raises ValueError if decoding would allocate too much memory, before it does: `labels` tell how many clips there are."""
    if "labels" not in tensors or tensors["labels"].ndim == 0:
        return  # the decoder refuses it and names the tensor
    stored = payload.num_bytes(tensors)
    expansion = getattr(decoder, "MAX_EXPANSION", MAX_EXPANSION)
    limit = max(stored, min(expansion * (task.budget_bytes(spec) or stored), MAX_DECODED_BYTES))
    measure = getattr(decoder, "bytes_per_clip", None)
    per_clip = 4 * spec.clip_bytes if measure is None else int(measure(tensors, spec))
    of_label = getattr(decoder, "clips_per_label", None)
    num_clips, most = len(tensors["labels"]) * (1 if of_label is None else int(of_label(tensors))), limit // per_clip
    if num_clips > most:
        raise ValueError(
            f"payload decodes to {num_clips:,} clips = {num_clips * per_clip:,} bytes of memory; "
            f"allowed: {most:,} clips, {expansion} times the budget and {MAX_DECODED_BYTES:,} bytes; store fewer"
        )


def check_values(clips: torch.Tensor) -> None:
    """Raises ValueError if decoded clips [N, T, H, W, 3] leave 0-255 by more than MAX_EXCESS.

    Since protocol v2 a clip's scale is divided out before a student sees it, so larger values cannot act as a learning
    rate; they come from a wrong range or are not brightness. uint8 clips always pass.
    """
    if clips.dtype == torch.uint8 or not len(clips):
        return
    low, high = value_range(clips)
    if not (low >= -MAX_EXCESS and high <= 255 + MAX_EXCESS):
        raise ValueError(
            f"the decoded clips have values from {low:.6g} to {high:.6g}, far outside 0-255; allowed: {-MAX_EXCESS:g} to "
            f"{255 + MAX_EXCESS:g}, five times the range of video on either side. Store them on the 0-255 scale; if `vddbench "
            "pack` made them, its --range was wrong: pack them again with the right one"
        )


def check_one_label_each(clip_set: ClipSet) -> None:
    """Raises ValueError if a clip is stored under several hard labels: that is a soft label, which belongs to the soft track.

    Clips of a single value are left out: blank clips of several classes teach nothing.
    """
    labels = clip_set.labels
    if labels.ndim != 1:
        return
    first: dict[bytes, int] = {}
    for number, clip in enumerate(clip_set.clips):
        seen = first.setdefault(hashlib.sha256(clip.contiguous().numpy().data).digest(), number)
        if labels[seen] != labels[number] and bool((clip != clip.flatten()[0]).any()):
            raise ValueError(
                f"clips {seen} and {number} are identical, with the labels {int(labels[seen])} and {int(labels[number])}: one "
                "clip under several hard labels is a soft label; store it once with probabilities [N, K] (the soft track)"
            )
