"""What the labels of research code mean: class indices, one-hot rows, probabilities, or scores that must be converted first.

A conversion that has one result is made and reported. If there are several (logits: the largest, or their softmax), `pack`
names the options. The order of classes is never assumed: `--labels-by-class` states it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vddbench.lookup import unknown
from vddbench.spec import DatasetSpec, Task
from vddbench.submissions.importers import CLASS_NAMES
from vddbench.submissions.tensors import SOFT_SUM_TOLERANCE
from vddbench.submissions.tensors import labels as checked_labels

FORMS = {
    "argmax": "class indices: the largest score of each row",
    "softmax": "probabilities: the softmax of each row of logits",
    "centred": "probabilities: each row times sqrt(K/10), plus 1/K, negative values set to 0, divided by its sum",
}
ONE_HOT_TOLERANCE = 0.05  # of the difference between the two values of one-hot rows, centred or not


def labels_for(
    given: torch.Tensor, num_clips: int, spec: DatasetSpec, form: str | None, notes: list[str], *, of_kernels: bool = False
) -> torch.Tensor:
    """The labels as [N] in the narrowest int dtype, or as [N, K] float probabilities.

    form: one of FORMS for rows of scores, or None. of_kernels: the file is one of a code base that keeps labels centred. Raises
    ValueError if the labels are wrong or can be read in two ways.
    """
    num_classes = spec.num_classes
    given = _real(given)
    if given.ndim == 2 and given.shape != (num_clips, num_classes) and given.numel() == num_clips:
        given = given.reshape(-1)  # [N, 1] or [K, ipc]
    if given.ndim not in {1, 2} or len(given) != num_clips:
        raise ValueError(
            f"{list(given.shape)} labels for {num_clips} clips; allowed: one for each clip, [N] indices or [N, K] probabilities"
        )
    if given.ndim == 1:
        return _indices(given, spec, form, notes)
    if given.shape[1] != num_classes:
        raise ValueError(f"labels are {list(given.shape)}; allowed: {num_classes} values for each clip. {_right_task(spec)}")
    rows = given.float()
    if not bool(rows.isfinite().all()):
        raise ValueError("the labels hold NaN or infinite values; allowed: finite numbers")
    if form is not None:
        notes.append(f"labels: {FORMS[form]} (as stated)")
        rows = _converted(rows, form)
    elif (level := _one_hot(rows)) is not None:
        notes.append(f"labels: {'one-hot' if level == 0 else 'centred one-hot'} rows became class indices")
        rows = rows.argmax(1)
    elif bool((rows <= 0).all()) and _are_distributions(rows.exp()):
        notes.append("labels: log-probabilities became probabilities")
        rows = rows.exp()
    elif not _are_distributions(rows):
        raise ValueError(_asked(rows, of_kernels))
    elif given.dtype == torch.float16:
        rows = given
    if rows.ndim == 1:
        return _indices(rows, spec, None, notes)
    checked_labels({"labels": rows}, spec)
    notes.append(f"labels: probabilities (soft track) of the classes {_order(spec)}")
    return rows.contiguous()


def _real(labels: torch.Tensor) -> torch.Tensor:
    """Labels of a type that can be compared: PyTorch has no comparison of uint16 and uint32. Refuses complex numbers."""
    if labels.is_complex():
        raise ValueError("the labels are complex numbers; allowed: class indices, or probabilities")
    return labels if labels.is_floating_point() else labels.long()


def _indices(given: torch.Tensor, spec: DatasetSpec, form: str | None, notes: list[str]) -> torch.Tensor:
    """Class indices [N] in the narrowest dtype that holds all classes."""
    if form is not None:
        raise ValueError(f"--labels-as {form} converts rows of scores [N, K]; these labels are {list(given.shape)}")
    if given.is_floating_point():
        if len(broken := (given != given.round()).nonzero()):
            first = int(broken[0])
            raise ValueError(
                f"clip {first} has label {float(given[first]):.4g}; allowed: class indices, whole numbers from 0 to "
                f"{spec.num_classes - 1}, or a row of {spec.num_classes} probabilities for each clip"
            )
        notes.append("labels: whole numbers stored as floats became class indices")
        given = given.to(torch.int64)
    if len(given) and (int(given.min()), int(given.max())) == (1, spec.num_classes):
        raise ValueError(
            f"the labels are 1 to {spec.num_classes}; class indices here are 0 to {spec.num_classes - 1}: subtract 1 from "
            f"them, if label 1 is {spec.class_names[0]}"
        )
    if len(outside := ((given < 0) | (given >= spec.num_classes)).nonzero()):
        first = int(outside[0])
        raise ValueError(
            f"clip {first} has label {int(given[first])}; allowed: 0 to {spec.num_classes - 1}. {_right_task(spec)}"
        )
    notes.append(f"labels: class indices, {_order(spec)}")
    return checked_labels({"labels": given}, spec).to(torch.uint8 if spec.num_classes <= 256 else torch.int16)


def _order(spec: DatasetSpec) -> str:
    """The first classes with their indices, and all that are elsewhere if capitals do not count (four of UCF101)."""
    names = [f"{index} = {name[:40]}" for index, name in enumerate(spec.class_names)]
    pairs = zip(names, spec.class_names, sorted(spec.class_names, key=str.lower), strict=True)
    moved = [text for text, name, other in pairs if name != other]
    capitals = f", capitals before small letters: {', '.join(moved[:8])}" if moved else ""
    return f"{some(names)} (names sorted{capitals})"


def _right_task(spec: DatasetSpec) -> str:
    return f"The dataset has {spec.num_classes} classes: is --task right?"


def some(texts: Sequence[str]) -> str:
    """The first three of a list."""
    return ", ".join(texts[:3]) + (", ..." if len(texts) > 3 else "")


def _one_hot(rows: torch.Tensor) -> float | None:
    """The value of the other classes if every row has one large value and K - 1 equal ones, 1 or about 1/c above; else None.

    0: one-hot rows. Otherwise the rows sum to 0, as kernel methods centre them (FRePo: (one-hot - 1/K) / sqrt(K / 10)).
    """
    num_classes = rows.shape[1]
    others = rows.clone().scatter_(1, rows.argmax(1, keepdim=True), math.nan)
    off = float(others.nanmean())
    if bool(((rows == 0) | (rows == 1)).all()) and bool((rows.sum(1) == 1).all()):
        return 0.0
    step = float(rows.amax(1).mean()) - off
    tolerance = ONE_HOT_TOLERANCE * step
    pattern = torch.full_like(rows, off).scatter_(1, rows.argmax(1, keepdim=True), off + step)
    is_centred = off < 0 and abs(off + step / num_classes) <= tolerance
    return off if is_centred and bool(((rows - pattern).abs() <= tolerance).all()) else None


def _are_distributions(rows: torch.Tensor) -> bool:
    return bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() <= SOFT_SUM_TOLERANCE).all())


def _converted(rows: torch.Tensor, form: str) -> torch.Tensor:
    if form == "argmax":
        return rows.argmax(1)
    if form == "softmax":
        return rows.softmax(1)
    positive = (rows * math.sqrt(rows.shape[1] / 10) + 1 / rows.shape[1]).clamp(min=0)
    return positive / positive.sum(1, keepdim=True).clamp(min=1e-12)


def _asked(rows: torch.Tensor, of_kernels: bool) -> str:
    """The message for rows that are not distributions: what they look like, and the options that say how to read them."""
    num_classes = rows.shape[1]
    sums = rows.sum(1)
    first = f"row 0 sums to {float(sums[0]):.4g}, from {float(rows[0].min()):.4g} to {float(rows[0].max()):.4g}"
    if of_kernels or (bool((rows < 0).any()) and float((sums.abs() / rows.abs().sum(1)).median()) <= 0.1):
        return (
            f"the labels are not probabilities ({first}): they look centred, as kernel methods keep them, (one-hot - 1/K) / "
            f"sqrt(K/10). A softmax would make them nearly uniform over {num_classes} classes. `--labels-as centred` undoes "
            "the centring and keeps probabilities, `--labels-as argmax` keeps only each row's class"
        )
    if bool((rows < 0).any()):
        return (
            f"the labels are not probabilities ({first}): they look like logits. `--labels-as softmax` makes probabilities of "
            "them (divide them by your temperature first, if you use one), `--labels-as argmax` keeps only each row's class"
        )
    return (
        f"the rows of the labels do not sum to 1 ({first}): divide each row by its sum if they are weights; "
        "`--labels-as argmax` keeps only each row's class, `--labels-as softmax` reads them as logits"
    )


def by_class(num_clips: int, spec: DatasetSpec, known: str, notes: list[str]) -> torch.Tensor:
    """Labels of clips that are sorted by class, equally many for each. Raises ValueError if their number does not allow it.

    known: from where, for the report.
    """
    per_class, rest = divmod(num_clips, spec.num_classes)
    if rest or not per_class:
        raise ValueError(
            f"--labels-by-class: {num_clips} clips are not equally many for each of {spec.num_classes} classes; give a file of "
            "labels with --labels"
        )
    notes.append(f"labels: by class ({known}), {per_class} of class 0 ({spec.class_names[0]}) first, then class 1, ...")
    return torch.arange(spec.num_classes).repeat_interleave(per_class)


def missing(num_clips: int, source: Path, task: Task, spec: DatasetSpec) -> str:
    """The message for a source without labels, with the options that provide them."""
    sibling = _beside(source)
    file = f"`--labels {sibling}` if that file, which lies beside it, holds them" if sibling else "`--labels FILE`"
    sorted_ones = f", or `--labels-by-class` if the clips are sorted by class ({some(spec.class_names)}), " + (
        f"{num_clips // spec.num_classes} of each" if num_clips % spec.num_classes == 0 else "equally many of each"
    )
    can_be_sorted = num_clips % spec.num_classes == 0 and num_clips > 0
    return (
        f"{source} holds no labels for its {num_clips} clips of {task}: their order is not assumed, since a wrong one makes "
        f"the score chance. Give {file}{sorted_ones if can_be_sorted else f'; {num_clips} are not equally many for each class'}"
    )


def _beside(source: Path) -> Path | None:
    """A file of labels beside `images_best.pt` or `x_syn_100.pt`, as released code of MTT and FRePo names it, or None."""
    for clips_part, labels_part in (("images", "labels"), ("image", "label"), ("x_syn", "y_syn"), ("clips", "labels")):
        candidate = source.with_name(source.name.replace(clips_part, labels_part, 1))
        if candidate.name != source.name and candidate.is_file():
            return candidate
    return None


def from_names(names: Sequence[str], spec: DatasetSpec, what: str) -> torch.Tensor:
    """The class index of each name. Raises ValueError for a name that is not a class."""
    index = {name.lower(): label for label, name in enumerate(spec.class_names)}
    for name in names:
        if name.lower() not in index:
            numbers = f"; numbers are read as class indices, from 0 to {spec.num_classes - 1}" if name.isdecimal() else ""
            raise ValueError(f"{what}: {unknown('class', name, list(spec.class_names))}{numbers}. {_right_task(spec)}")
    return torch.tensor([index[name.lower()] for name in names])


def in_order_of(texts: Mapping[str, list[str]], labels: torch.Tensor, spec: DatasetSpec, notes: list[str]) -> torch.Tensor:
    """The labels by the dataset's order of classes, if the file has a list of its own (`class_names`).

    texts: the lists of texts in the file, by name. Raises ValueError if a list of classes names others than the dataset's.
    """
    for name, names in texts.items():
        if name.split(".")[-1] not in CLASS_NAMES:
            continue
        ours = from_names(names, spec, f"{name!r} in the file")
        if len(set(names)) != len(names) or len(names) != spec.num_classes:
            raise ValueError(f"{name!r} in the file has {len(names)} names; allowed: each of {spec.num_classes} classes once")
        if bool((ours == torch.arange(spec.num_classes)).all()):
            notes.append(f"labels: {name!r} in the file has the classes in the same order")
            return labels
        notes.append(f"labels: moved from the order of {name!r} in the file ({', '.join(names[:3])}, ...) to sorted names")
        return ours[labels.long()].to(labels.dtype) if labels.ndim == 1 else labels[:, ours.argsort()].contiguous()
    return labels
