"""Checks of the tensors that a decoder accepts: names, shapes with named dimensions, dtypes, finite values, labels.

A submission comes from a stranger, so every decoder calls `expect` before it computes anything. All problems are reported
at once, one per line, each with the tensor, the value found and the allowed values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
import torch

from vddbench.spec import DatasetSpec
from vddbench.submissions.payload import dtype_name

MAX_VALUE = 65_504.0  # largest finite float16, 256 times the display range: a larger value is a mistake
SOFT_SUM_TOLERANCE = 1e-2  # rows of float16 probabilities over 400 classes stay well inside
PIXEL_DTYPES = (torch.uint8, torch.float16, torch.float32)
OFFSET_DTYPES = (torch.int32, torch.int64)
INDEX_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)
SOFT_DTYPES = (torch.float16, torch.float32)

Shape = tuple[int | str, ...]  # a string names a dimension that must have one size in all tensors


@dataclass(frozen=True)
class Want:
    """The shapes and dtypes that one tensor may have."""

    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...]


def pixel_want(*shape: int | str) -> Want:
    """Pixels of one shape."""
    return Want((shape,), PIXEL_DTYPES)


def label_want(spec: DatasetSpec) -> Want:
    """Labels: [N] class indices or [N, K] probabilities."""
    return Want((("N",), ("N", spec.num_classes)), INDEX_DTYPES + SOFT_DTYPES)


AFFINE: Mapping[str, Want] = {name: Want(((3,),), (torch.float32,)) for name in ("scale", "offset")}


def expect(
    tensors: Mapping[str, torch.Tensor], required: Mapping[str, Want], optional: Mapping[str, Want] | None = None
) -> dict[str, int]:
    """The sizes of the named dimensions.

    Raises ValueError with one line for each tensor that is unknown, missing, misshapen, wrongly typed or not finite.
    """
    allowed = {**required, **(optional or {})}
    problems = [
        f"tensor {name[:80]!r} is unknown to this decoder: found {_what(tensors[name])}; allowed: {', '.join(allowed)}"
        for name in tensors
        if name not in allowed
    ]
    sizes: dict[str, int] = {}
    for name, want in allowed.items():
        if name in tensors:
            problems += _misfits(name, tensors[name], want, sizes)
        elif name in required:
            problems.append(f"tensor {name!r} is missing; it must be {_allowed(want)}")
    if problems:
        raise ValueError("\n".join(problems))
    return sizes


def _misfits(name: str, tensor: torch.Tensor, want: Want, sizes: dict[str, int]) -> list[str]:
    problems = []
    if tensor.dtype not in want.dtypes:
        problems.append(f"tensor {name!r} has dtype {dtype_name(tensor.dtype)}; allowed: {_dtypes(want)}")
    for shape in want.shapes:
        bound = _bind(shape, tuple(tensor.shape), sizes)
        if bound is not None:
            sizes.update(bound)
            break
    else:
        known = ", ".join(f"{letter}={size}" for letter, size in sizes.items())
        problems.append(
            f"tensor {name!r} has shape {_shape(tuple(tensor.shape))}; allowed: {_shapes(want)}"
            + (f" with {known}" if known else "")
            + (", every dimension at least 1" if 0 in tensor.shape else "")
        )
    if not problems and tensor.is_floating_point():
        problems += _not_finite(name, tensor)
    return problems


def _bind(wanted: Shape, actual: tuple[int, ...], sizes: Mapping[str, int]) -> dict[str, int] | None:
    """The sizes with the named dimensions of this tensor added. Returns None if its shape does not fit."""
    if len(wanted) != len(actual) or 0 in actual:
        return None
    bound = dict(sizes)
    for dimension, size in zip(wanted, actual, strict=True):
        if isinstance(dimension, str):
            if bound.setdefault(dimension, size) != size:
                return None
        elif dimension != size:
            return None
    return bound


def _not_finite(name: str, tensor: torch.Tensor) -> list[str]:
    low, high = value_range(tensor)
    if math.isfinite(low) and math.isfinite(high):
        return []
    rows = tensor.reshape(len(tensor), -1)
    first = next(i for i, row in enumerate(rows) if not row.isfinite().all())  # row by row: no copy of the whole
    column = int((~rows[first].isfinite()).nonzero()[0])
    value = rows[first, column].item()
    return [f"tensor {name!r} holds {value} (first in row {first}); allowed: finite numbers only"]


def value_range(tensor: torch.Tensor) -> tuple[float, float]:
    """The smallest and the largest value, or NaN if the tensor holds one. Allocates nothing."""
    low, high = torch.aminmax(tensor)
    return float(low), float(high)


def label_track(tensors: Mapping[str, torch.Tensor]) -> Literal["hard", "soft"]:
    """The track of a payload: soft if its labels are probabilities."""
    return "soft" if "labels" in tensors and tensors["labels"].ndim == 2 else "hard"


def labels(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> torch.Tensor:
    """The labels as [N] int64 class indices, or as [N, K] float32 rows that sum to 1.

    Raises ValueError with the first wrong row.
    """
    stored = tensors["labels"]
    if stored.ndim == 1:
        return _hard(stored, spec)
    if not stored.is_floating_point():
        raise ValueError(
            f"tensor 'labels' is {_what(stored)}, expected float; allowed: class indices as [N] int, "
            f"probabilities as [N, {spec.num_classes}] float16 or float32"
        )
    rows = stored.to(torch.float32)
    sums = rows.sum(1)
    bad = (rows < 0).any(1) | ((sums - 1).abs() > SOFT_SUM_TOLERANCE)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"tensor 'labels' row {first} is not a distribution (sum {float(sums[first]):.4g}, smallest "
            f"{float(rows[first].min()):.4g}); allowed: values >= 0 that sum to 1; apply a softmax to logits first"
        )
    return rows / sums[:, None]


def _hard(stored: torch.Tensor, spec: DatasetSpec) -> torch.Tensor:
    if stored.is_floating_point():
        raise ValueError(
            f"tensor 'labels' is {_what(stored)}, expected int; allowed: class indices as "
            f"{', '.join(dtype_name(d) for d in INDEX_DTYPES)}, probabilities as [N, {spec.num_classes}]"
        )
    indices = stored.to(torch.int64)
    bad = (indices < 0) | (indices >= spec.num_classes)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"tensor 'labels' is out of range: clip {first} has label {int(indices[first])}; "
            f"allowed: 0 to {spec.num_classes - 1}"
        )
    return indices


def stays_uint8(tensors: Mapping[str, torch.Tensor], name: str) -> bool:
    """Whether `affine` leaves the pixels of this tensor as they are stored. The tensors may be wrong in any way."""
    return name in tensors and tensors[name].dtype == torch.uint8 and not any(key in tensors for key in AFFINE)


def affine(tensors: Mapping[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """Pixels [..., 3] on the 0-255 scale: `pixels * scale + offset` per channel if a submission stores these two tensors.

    Without them uint8 pixels stay uint8 and are not copied; everything else becomes float32. Raises ValueError if only one
    of the two is stored or a value is beyond +-MAX_VALUE.
    """
    given = [name for name in AFFINE if name in tensors]
    if len(given) == 1:
        raise ValueError(f"tensor {given[0]!r} is stored alone; allowed: both 'scale' and 'offset', or neither")
    if not given and pixels.dtype == torch.uint8:
        return pixels
    values = pixels.to(torch.float32, copy=bool(given))
    if given:
        values.mul_(tensors["scale"]).add_(tensors["offset"])
    low, high = value_range(values)
    if not (low >= -MAX_VALUE and high <= MAX_VALUE):
        raise ValueError(
            f"pixel values reach from {low:.6g} to {high:.6g}; allowed: -{MAX_VALUE:g} to {MAX_VALUE:g} on the 0-255 scale. A "
            "distillation that diverged needs lower learning rates"
        )
    return values


def cut(tensors: Mapping[str, torch.Tensor], name: str, num_parts: int, part: str) -> list[memoryview]:
    """The bytes of tensor `name`, cut into parts at the tensor `offsets`. part: what one part is, for the messages.

    Raises ValueError unless the offsets increase strictly from 0 to the number of bytes.
    """
    data, offsets = tensors[name].numpy().data, tensors["offsets"].tolist()
    if len(offsets) != num_parts + 1:
        raise ValueError(f"tensor 'offsets' has {len(offsets)} entries; allowed: one per {part} and one more, {num_parts + 1}")
    if offsets[0] != 0 or offsets[-1] != len(data):
        raise ValueError(
            f"tensor 'offsets' goes from {offsets[0]} to {offsets[-1]}; allowed: from 0 to {len(data)}, the bytes of {name!r}"
        )
    for i, (begin, end) in enumerate(pairwise(offsets)):
        if end <= begin:
            raise ValueError(f"tensor 'offsets' goes from {begin} to {end} at entry {i}; allowed: strictly increasing")
    return [data[begin:end] for begin, end in pairwise(offsets)]


def joined(name: str, parts: Sequence[bytes]) -> dict[str, torch.Tensor]:
    """The tensors `name` and `offsets` that `cut` cuts into these parts.

    Offsets are int32 if they fit, since they count towards the budget.
    """
    offsets = np.array([0, *accumulate(map(len, parts))], np.int64)
    dtype = np.int32 if offsets[-1] <= np.iinfo(np.int32).max else np.int64
    data = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
    return {name: torch.from_numpy(data), "offsets": torch.from_numpy(offsets.astype(dtype))}


def _dtypes(want: Want) -> str:
    return ", ".join(dtype_name(d) for d in want.dtypes)


def _shape(shape: Shape) -> str:
    return "[" + ", ".join(str(d) for d in shape) + "]"


def _shapes(want: Want) -> str:
    return " or ".join(_shape(s) for s in want.shapes)


def _allowed(want: Want) -> str:
    return f"{_shapes(want)} of {_dtypes(want)}"


def _what(tensor: torch.Tensor) -> str:
    return f"{_shape(tuple(tensor.shape))} {dtype_name(tensor.dtype)}"
