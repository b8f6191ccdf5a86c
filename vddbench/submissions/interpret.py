"""What a tensor of research code means: the order of its dimensions, its value range, its labels.

An option of `pack` states each of them, or it is detected. If a tensor can be read in two ways, the error names both and
the option that decides: a wrong guess would lower the accuracy without any other sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vddbench.spec import IMAGENET_MEAN, IMAGENET_STD, DatasetSpec, Task
from vddbench.submissions.payload import CODES, dtype_name
from vddbench.submissions.tensors import labels as checked_labels
from vddbench.submissions.tensors import value_range as range_of

LAYOUTS = {  # by decoder, in the order of detection; K is a class axis before the clips of a class
    "pixels": ("NTHWC", "NCTHW", "NTCHW", "KNTHWC", "KNCTHW", "KNTCHW"),
    "still": ("NHWC", "NCHW", "KNHWC", "KNCHW"),
}
STORED = {"pixels": "NTHWC", "still": "NHWC"}
RANGES: dict[str, tuple[Sequence[float], Sequence[float]]] = {  # value on 0-255 = 255 * (stored * std + mean)
    "0-255": ([1 / 255] * 3, [0.0] * 3),
    "0-1": ([1.0] * 3, [0.0] * 3),
    "-1-1": ([0.5] * 3, [0.5] * 3),
    "imagenet": (IMAGENET_STD, IMAGENET_MEAN),
}


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """Clips (or frames) with their dimensions in the order of the decoder: [N, T, H, W, 3] or [N, H, W, 3]."""

    values: torch.Tensor
    decoder: str
    has_class_axis: bool


def described(name: str, tensor: torch.Tensor) -> str:
    """The name, shape and dtype of a tensor, for messages."""
    return f"tensor {name!r} {list(tensor.shape)} {dtype_name(tensor.dtype)}"


def arrange(tensor: torch.Tensor, spec: DatasetSpec, layout: str | None, decoder: str | None, notes: list[str]) -> Arranged:
    """Orders the dimensions, as a view if possible. Raises ValueError unless exactly one layout fits."""
    allowed = [name for kind, names in LAYOUTS.items() if decoder in {None, kind} for name in names]
    if layout is None:
        fitting = [name for name in allowed if not _misfit(name, tensor, spec)]
        fitting = [name for name in fitting if "T" in name] or fitting  # prefers T frames of a clip to T stills of a class
        how = "detected"
    else:
        kind = {frozenset("NTHWC"): "pixels", frozenset("NHWC"): "still"}.get(frozenset(layout) - {"K"})
        if kind is None or len(set(layout)) != len(layout) or decoder not in {None, kind}:
            raise ValueError(f"--layout {layout[:40]!r} does not order the letters of one of: {', '.join(allowed)}")
        if why := _misfit(layout, tensor, spec):
            raise ValueError(f"--layout {layout} does not fit {list(tensor.shape)}: {why}")
        fitting, how = [layout], "as stated"
    if len(fitting) != 1:
        readings = f"could be {' or '.join(fitting)}" if fitting else "fits no layout"
        raise ValueError(
            f"shape {list(tensor.shape)} {readings}; clips here have T={spec.frames}, H=W={spec.size}, C=3, "
            f"K={spec.num_classes} classes: say which with --layout ({', '.join(allowed)}), or resize the clips"
        )
    return _permuted(tensor, fitting[0], how, notes)


def _permuted(tensor: torch.Tensor, layout: str, how: str, notes: list[str]) -> Arranged:
    kind = "pixels" if "T" in layout else "still"
    has_class_axis = "K" in layout
    ordered = tensor.permute([layout.index(letter) for letter in ("K" if has_class_axis else "") + STORED[kind]])
    notes.append(f"layout: {layout} ({how}), stored as {STORED[kind]} for the decoder {kind}")
    return Arranged(values=ordered.flatten(0, 1) if has_class_axis else ordered, decoder=kind, has_class_axis=has_class_axis)


def _misfit(layout: str, tensor: torch.Tensor, spec: DatasetSpec) -> str:
    """Why a layout does not fit a tensor. Returns "" if it fits."""
    wanted = {"T": spec.frames, "H": spec.size, "W": spec.size, "C": 3, "K": spec.num_classes}
    if len(layout) != tensor.ndim:
        return f"{len(layout)} letters for {tensor.ndim} dimensions"
    sizes = zip(layout, tensor.shape, strict=True)
    return ", ".join(f"{x} is {size}, must be {wanted[x]}" for x, size in sizes if size != wanted.get(x, size))


def to_255(values: torch.Tensor, value_range: str | None, notes: list[str]) -> torch.Tensor:
    """Values on the 0-255 scale: uint8 stays as it is, everything else becomes float32.

    Raises ValueError if values are not finite or the range is neither stated nor clear.
    """
    if values.dtype not in CODES:
        raise ValueError(f"the clips are {values.dtype}; allowed: {', '.join(str(d) for d in CODES)}")
    low, high = range_of(values)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"the clips hold NaN or infinite values (range {low} to {high}); allowed: finite numbers")
    name = value_range or detect_range(low, high, values)
    notes.append(f"values: {low:.4g} to {high:.4g}, taken as {name} ({'as stated' if value_range else 'detected'})")
    if name == "0-255":
        return values if values.dtype == torch.uint8 else values.to(torch.float32)
    std, mean = (torch.tensor(numbers) for numbers in RANGES[name])
    return values.to(torch.float32, copy=True).mul_(std).add_(mean).mul_(255)


def detect_range(low: float, high: float, values: torch.Tensor) -> str:
    """The only entry of RANGES that the values allow. Raises ValueError if that is not clear."""
    if values.dtype == torch.uint8 or (low >= 0 and 2 < high <= 255.5):
        return "0-255"
    if values.is_floating_point():
        if low >= 0 and high <= 1:
            return "0-1"
        largest = max(abs(low), abs(high))
        if low < 0 and 0.9 <= largest <= 1:
            return "-1-1"
        if low < 0 and 1 < largest <= 8 and abs(float(values.mean(dtype=torch.float64))) <= 1:
            return "imagenet"  # white is 2.64, and noise of unit variance stays below 8
    raise ValueError(
        f"values from {low:.4g} to {high:.4g} ({dtype_name(values.dtype)}) could be on more than one "
        f"scale; say which with --range: {', '.join(RANGES)}"
    )


def labels_for(given: torch.Tensor | None, clips: Arranged, task: Task, spec: DatasetSpec, notes: list[str]) -> torch.Tensor:
    """The labels as [N] in the narrowest int dtype, or as [N, K] float.

    Without labels, class-sorted clips are assumed if their number allows it. Raises ValueError if the labels are wrong, or
    missing and cannot be assumed.
    """
    num_clips, num_classes = len(clips.values), spec.num_classes
    if given is None:
        given = _assumed_labels(num_clips, num_clips // num_classes if clips.has_class_axis else task.ipc, task, spec, notes)
    if given.ndim == 2 and given.shape != (num_clips, num_classes) and given.numel() == num_clips:
        given = given.reshape(-1)  # [N, 1] or [K, ipc]
    if given.ndim not in {1, 2} or len(given) != num_clips:
        raise ValueError(f"{list(given.shape)} labels for {num_clips} clips; allowed: [N] indices or [N, K] probabilities")
    if given.ndim == 2 and bool(((given == 0) | (given == 1)).all()) and bool((given.sum(1) == 1).all()):
        notes.append("labels: one-hot rows became class indices")
        given = given.argmax(1)
    elif given.ndim == 1 and given.is_floating_point() and bool((given == given.round()).all()):
        notes.append("labels: whole numbers stored as floats became class indices")
        given = given.to(torch.int64)
    if given.ndim == 1:
        narrowest = torch.uint8 if num_classes <= 256 else torch.int16
        return checked_labels({"labels": given}, spec).to(narrowest)
    given = given.to(torch.float16 if given.dtype == torch.float16 else torch.float32)
    if given.shape[1] != num_classes:
        raise ValueError(f"labels are {list(given.shape)}; allowed: {num_classes} probabilities a clip")
    checked_labels({"labels": given}, spec)
    return given.contiguous()


def _assumed_labels(num_clips: int, per_class: int | None, task: Task, spec: DatasetSpec, notes: list[str]) -> torch.Tensor:
    if per_class is None or per_class * spec.num_classes != num_clips:
        raise ValueError(
            f"the source has no labels, and {num_clips} clips are not {task.ipc or 'a known number'} for each of "
            f"{spec.num_classes} classes in order; give a file of labels with --labels"
        )
    notes.append(
        f"labels: NONE GIVEN. ASSUMED: class-sorted, {per_class} clips of class 0 ({spec.class_names[0]}) first, "
        f"then class 1 ({spec.class_names[1]}), ...; if that is wrong the score is chance: give --labels"
    )
    return torch.arange(spec.num_classes).repeat_interleave(per_class)
