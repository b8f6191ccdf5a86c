"""`vddbench pack`: a tensor of research code becomes a submission; what was taken for what is reported back.

Layout, value range and labels are stated by flags or detected. Where the file allows two readings, the message names both
and the flag that decides: a wrong guess would cost accuracy without a sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vddbench.lookup import is_bundled
from vddbench.spec import IMAGENET_MEAN, IMAGENET_STD, DatasetSpec, Task
from vddbench.submissions import submission
from vddbench.submissions.check import check
from vddbench.submissions.importers import choose_clips, choose_labels, read_tensors
from vddbench.submissions.payload import CODES
from vddbench.submissions.quantise import quantise
from vddbench.submissions.tensors import labels as checked_labels
from vddbench.submissions.tensors import value_range as range_of

DTYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}
LAYOUTS = {  # tried in detection; K is a class axis before the clips of a class
    "pixels": ("NTHWC", "NCTHW", "NTCHW", "KNTHWC", "KNCTHW", "KNTCHW"),
    "still": ("NHWC", "NCHW", "KNHWC", "KNCHW"),
}
STORED = {"pixels": "NTHWC", "still": "NHWC"}
TENSOR = {"pixels": "clips", "still": "frames"}
RANGES: dict[str, tuple[Sequence[float], Sequence[float]]] = {  # value on 0-255 = 255 * (stored * std + mean)
    "0-255": ([1 / 255] * 3, [0.0] * 3),
    "0-1": ([1.0] * 3, [0.0] * 3),
    "-1-1": ([0.5] * 3, [0.5] * 3),
    "imagenet": (IMAGENET_STD, IMAGENET_MEAN),
}
SOURCE_FACTOR = 16  # a source may hold this many budgets: float64 clips are 8, twice that for what else is in the file
UNBUDGETED_SOURCE_BYTES = 64 * 10**9  # float32 clips of UCF101's 9,537 train videos are 23 GB


@dataclass(frozen=True, kw_only=True)
class Source:
    """Clips (or frames) as found, in the order of the decoder's tensor: [N, T, H, W, 3] or [N, H, W, 3]."""

    values: torch.Tensor
    decoder: str
    has_class_axis: bool


def pack(
    source: Path,
    task: Task,
    method: str,
    *,
    labels: Path | None = None,
    layout: str | None = None,
    value_range: str | None = None,
    decoder: str | None = None,
    dtype: str = "uint8",
    clips_key: str | None = None,
    labels_key: str | None = None,
    seed: int = 0,
    authors: Sequence[str] = (),
    paper: str = "",
    code: str = "",
    external_data: str = "",
    holdout: bool = False,
    out: Path = Path("submissions"),
    spec: DatasetSpec | None = None,
    force: bool = False,
) -> tuple[Path, list[str]]:
    """Writes `out/TASK/METHOD`; returns it and what was found, converted and lost, a line each.

    Raises ValueError when a reading is ambiguous or the submission would be refused, FileNotFoundError, LookupError.
    """
    _check_options(value_range, decoder, dtype)
    if is_bundled(method):
        raise ValueError(
            f"{method!r} is the name of a bundled baseline, which tables measure others by; choose another --method"
        )
    spec = spec or submission.spec_of(task.dataset)
    budget = task.budget_bytes(spec)
    limit = UNBUDGETED_SOURCE_BYTES if budget is None else SOURCE_FACTOR * budget
    found = read_tensors(source, limit)
    key = choose_clips(found, clips_key)
    report = [f"source: {source} {_tensor(key, found[key])}"]
    ordered = arrange(found[key], spec, layout, decoder, report)
    given = _given_labels({n: t for n, t in found.items() if n != key}, labels, labels_key, limit, report)
    targets = labels_for(given, len(ordered.values), ordered.has_class_axis, task, spec, report)
    stored = quantise(to_255(ordered.values, value_range, report), DTYPES[dtype], report)
    tensors = {TENSOR[ordered.decoder]: stored.pop("pixels"), **stored, "labels": targets}
    path = submission.write(
        out,
        tensors,
        method=method,
        task=task,
        decoder=ordered.decoder,
        seed=seed,
        authors=authors,
        paper=paper,
        code=code,
        external_data=external_data,
        holdout=holdout,
        spec=spec,
        force=force,
    )
    checked = check(path, spec)
    assert checked.accepted, checked.reasons  # `write` made the same checks
    share = f", {checked.payload_bytes / budget:.2%} of the budget" if budget else ""
    report.append(f"payload: {checked.payload_bytes:,} bytes{share}")
    return path, report + [f"warning: {warning}" for warning in checked.warnings]


def _check_options(value_range: str | None, decoder: str | None, dtype: str) -> None:
    for flag, value, allowed in (
        ("--range", value_range, RANGES),
        ("--decoder", decoder, LAYOUTS),
        ("--dtype", dtype, DTYPES),
    ):
        if value is not None and value not in allowed:
            raise ValueError(f"{flag} {value[:40]!r} is not one that pack writes; allowed: {', '.join(allowed)}")


def _tensor(name: str, tensor: torch.Tensor) -> str:
    return f"tensor {name!r} {list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def arrange(tensor: torch.Tensor, spec: DatasetSpec, layout: str | None, decoder: str | None, report: list[str]) -> Source:
    """The tensor with its dimensions in the stored order; a view where possible. Raises ValueError when none or two fit."""
    allowed = [name for kind, names in LAYOUTS.items() if decoder in {None, kind} for name in names]
    if layout is None:
        fits = [name for name in allowed if not _misfit(name, tensor, spec)]
        fits = [name for name in fits if "T" in name] or fits  # T frames of one clip sooner than T stills of one class
        how = "detected"
    else:
        kind = {frozenset("NTHWC"): "pixels", frozenset("NHWC"): "still"}.get(frozenset(layout) - {"K"})
        if kind is None or len(set(layout)) != len(layout) or decoder not in {None, kind}:
            raise ValueError(f"--layout {layout[:40]!r} does not order the letters of one of: {', '.join(allowed)}")
        if why := _misfit(layout, tensor, spec):
            raise ValueError(f"--layout {layout} does not fit {list(tensor.shape)}: {why}")
        fits, how = [layout], "as stated"
    if len(fits) != 1:
        readings = f"could be {' or '.join(fits)}" if fits else "fits no layout"
        raise ValueError(
            f"shape {list(tensor.shape)} {readings}; clips here have T={spec.frames}, H=W={spec.size}, C=3, "
            f"K={spec.num_classes} classes: say which with --layout ({', '.join(allowed)}), or resize the clips"
        )
    kind = "pixels" if "T" in fits[0] else "still"
    target = ("K" if "K" in fits[0] else "") + STORED[kind]
    ordered = tensor.permute([fits[0].index(letter) for letter in target])
    report.append(f"layout: {fits[0]} ({how}), stored as {STORED[kind]} for the decoder {kind}")
    return Source(values=ordered.flatten(0, 1) if "K" in fits[0] else ordered, decoder=kind, has_class_axis="K" in fits[0])


def _misfit(layout: str, tensor: torch.Tensor, spec: DatasetSpec) -> str:
    """Why a layout doesn't fit; "" when it does."""
    due = {"T": spec.frames, "H": spec.size, "W": spec.size, "C": 3, "K": spec.num_classes}
    if len(layout) != tensor.ndim:
        return f"{len(layout)} letters for {tensor.ndim} dimensions"
    bad = [f"{x} is {n}, must be {due[x]}" for x, n in zip(layout, tensor.shape, strict=True) if n != due.get(x, n)]
    return ", ".join(bad)


def to_255(values: torch.Tensor, value_range: str | None, report: list[str]) -> torch.Tensor:
    """Values on the 0-255 scale: uint8 as they are, everything else float32. Raises ValueError on a doubtful range."""
    if values.dtype not in CODES:
        raise ValueError(f"the clips are {values.dtype}; allowed: {', '.join(str(d) for d in CODES)}")
    low, high = range_of(values)
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ValueError(f"the clips hold NaN or infinite values (range {low} to {high}); allowed: finite numbers")
    name = value_range or detect_range(low, high, values)
    how = "as stated" if value_range else "detected"
    report.append(f"values: {low:.4g} to {high:.4g}, taken as {name} ({how})")
    if name == "0-255":
        return values if values.dtype == torch.uint8 else values.to(torch.float32)
    std, mean = (torch.tensor(numbers) for numbers in RANGES[name])
    return values.to(torch.float32, copy=True).mul_(std).add_(mean).mul_(255)


def detect_range(low: float, high: float, values: torch.Tensor) -> str:
    """The only range of RANGES that the values allow. Raises ValueError when it is not clear."""
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
        f"values from {low:.4g} to {high:.4g} ({str(values.dtype).removeprefix('torch.')}) could be on more than one "
        f"scale; say which with --range: {', '.join(RANGES)}"
    )


def _given_labels(
    rest: dict[str, torch.Tensor], file: Path | None, key: str | None, limit: int, report: list[str]
) -> torch.Tensor | None:
    """The labels as found: in their own file, or beside the clips."""
    if file is not None:
        rest = read_tensors(file, limit)
    name = choose_labels(rest, key)
    if name is None and file is not None:
        raise ValueError(f"{file} holds no labels [N] or [N, K]; name them with --labels-key")
    if name is None:
        report += [
            f"not used: {_tensor(other, tensor)}; if these are the labels: --labels-key" for other, tensor in rest.items()
        ]
        return None
    report.append(f"labels: {file or 'beside the clips'} {_tensor(name, rest[name])}")
    return rest[name]


def labels_for(
    found: torch.Tensor | None, num_clips: int, has_class_axis: bool, task: Task, spec: DatasetSpec, report: list[str]
) -> torch.Tensor:
    """[N] in the narrowest int dtype, or [N, K] float. Raises ValueError when there are none and none can be assumed."""
    num_classes = spec.num_classes
    if found is None:
        per_class = num_clips // num_classes if has_class_axis else task.ipc
        if per_class is None or per_class * num_classes != num_clips:
            raise ValueError(
                f"the source has no labels, and {num_clips} clips are not {task.ipc or 'a known number'} for each of "
                f"{num_classes} classes in order; give a file of labels with --labels"
            )
        report.append(
            f"labels: NONE GIVEN. ASSUMED: class-sorted, {per_class} clips of class 0 ({spec.class_names[0]}) first, "
            f"then class 1 ({spec.class_names[1]}), ...; if that is wrong the score is chance: give --labels"
        )
        found = torch.arange(num_classes).repeat_interleave(per_class)
    if found.ndim == 2 and found.shape != (num_clips, num_classes) and found.numel() == num_clips:
        found = found.reshape(-1)  # [N, 1] or [K, ipc]
    if found.ndim not in {1, 2} or len(found) != num_clips:
        raise ValueError(f"{list(found.shape)} labels for {num_clips} clips; allowed: [N] indices or [N, K] probabilities")
    return _narrow(found, spec, report)


def _narrow(found: torch.Tensor, spec: DatasetSpec, report: list[str]) -> torch.Tensor:
    if found.ndim == 2 and bool(((found == 0) | (found == 1)).all()) and bool((found.sum(1) == 1).all()):
        report.append("labels: one-hot rows became class indices")
        found = found.argmax(1)
    elif found.ndim == 1 and found.is_floating_point() and bool((found == found.round()).all()):
        report.append("labels: whole numbers stored as floats became class indices")
        found = found.to(torch.int64)
    if found.ndim == 2:
        found = found.to(torch.float16 if found.dtype == torch.float16 else torch.float32)
        if found.shape[1] != spec.num_classes:
            raise ValueError(f"labels are {list(found.shape)}; allowed: {spec.num_classes} probabilities a clip")
        checked_labels({"labels": found}, spec)
        return found.contiguous()
    dtype = torch.uint8 if spec.num_classes <= 256 else torch.int16
    return checked_labels({"labels": found}, spec).to(dtype)
