"""What a decoder accepts: tensors by name, with named dimensions, allowed dtypes and finite values.

A submission comes from a stranger, so every decoder states its tensors with `expect` before it computes anything. All
problems are reported at once, one a line, each naming the tensor, what was found and what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vddbench.spec import DatasetSpec

MAX_VALUE = 65_504.0  # largest finite float16, 256 times the display range: beyond it a value is a mistake
SOFT_SUM_TOLERANCE = 1e-2  # rows of float16 probabilities over 400 classes stay well inside
PIXEL_DTYPES = (torch.uint8, torch.float16, torch.float32)
INDEX_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)
SOFT_DTYPES = (torch.float16, torch.float32)

Shape = tuple[int | str, ...]  # a string is a dimension that must be the same wherever it stands


@dataclass(frozen=True)
class Want:
    """One tensor: the shapes it may have and the dtypes it may be stored in."""

    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...]


def pixel_want(*shape: int | str) -> Want:
    return Want((shape,), PIXEL_DTYPES)


def label_want(spec: DatasetSpec) -> Want:
    """[N] class indices or [N, K] probabilities."""
    return Want((("N",), ("N", spec.num_classes)), INDEX_DTYPES + SOFT_DTYPES)


AFFINE: Mapping[str, Want] = {name: Want(((3,),), (torch.float32,)) for name in ("scale", "offset")}


def expect(
    tensors: Mapping[str, torch.Tensor], required: Mapping[str, Want], optional: Mapping[str, Want] | None = None
) -> dict[str, int]:
    """The sizes of the named dimensions. Raises ValueError with one line for every unknown, missing, misshapen,
    wrongly typed or non-finite tensor."""
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
        problems.append(f"tensor {name!r} has dtype {_dtype(tensor.dtype)}; allowed: {_dtypes(want)}")
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


def _bind(shape: Shape, found: tuple[int, ...], sizes: Mapping[str, int]) -> dict[str, int] | None:
    """The named dimensions if `found` fits, else None."""
    if len(shape) != len(found) or 0 in found:
        return None
    bound = dict(sizes)
    for due, size in zip(shape, found, strict=True):
        if isinstance(due, str):
            if bound.setdefault(due, size) != size:
                return None
        elif due != size:
            return None
    return bound


def _not_finite(name: str, tensor: torch.Tensor) -> list[str]:
    low, high = value_range(tensor)
    if math.isfinite(low) and math.isfinite(high):
        return []
    rows = tensor.reshape(len(tensor), -1)
    first = next(i for i, row in enumerate(rows) if not row.isfinite().all())  # row by row: no copy of the whole
    column = int((~rows[first].isfinite()).nonzero()[0])
    found = rows[first, column].item()
    return [f"tensor {name!r} holds {found} (first in row {first}); allowed: finite numbers only"]


def value_range(tensor: torch.Tensor) -> tuple[float, float]:
    """Smallest and largest value; NaN when there is one. Allocates nothing."""
    low, high = torch.aminmax(tensor)
    return float(low), float(high)


def labels(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> torch.Tensor:
    """[N] int64 class indices, or [N, K] float32 rows that sum to 1. Raises ValueError naming the first bad row."""
    found = tensors["labels"]
    if found.ndim == 1:
        return _hard(found, spec)
    if not found.is_floating_point():
        raise ValueError(
            f"tensor 'labels' is {_what(found)}: int where float is due; class indices are [N] int, "
            f"probabilities [N, {spec.num_classes}] float16 or float32"
        )
    rows = found.to(torch.float32)
    sums = rows.sum(1)
    bad = (rows < 0).any(1) | ((sums - 1).abs() > SOFT_SUM_TOLERANCE)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"tensor 'labels' row {first} is no distribution (sum {float(sums[first]):.4g}, smallest "
            f"{float(rows[first].min()):.4g}); allowed: values >= 0 that sum to 1; apply a softmax to logits first"
        )
    return rows / sums[:, None]


def _hard(found: torch.Tensor, spec: DatasetSpec) -> torch.Tensor:
    if found.is_floating_point():
        raise ValueError(
            f"tensor 'labels' is {_what(found)}: float where int is due; store class indices as "
            f"{', '.join(_dtype(d) for d in INDEX_DTYPES)} or probabilities as [N, {spec.num_classes}]"
        )
    indices = found.to(torch.int64)
    bad = (indices < 0) | (indices >= spec.num_classes)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"tensor 'labels' is out of range: clip {first} has label {int(indices[first])}; "
            f"allowed: 0 to {spec.num_classes - 1}"
        )
    return indices


def affine(tensors: Mapping[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """Pixels [..., 3] on the 0-255 scale: `pixels * scale + offset` per channel where a submission stores them.

    uint8 stays uint8 when nothing is stored; everything else becomes float32. Raises ValueError when only one of the
    two is there or a value leaves +-MAX_VALUE.
    """
    stored = [name for name in AFFINE if name in tensors]
    if len(stored) == 1:
        raise ValueError(f"tensor {stored[0]!r} stands alone; allowed: both 'scale' and 'offset', or neither")
    if not stored and pixels.dtype == torch.uint8:
        return pixels
    values = pixels.to(torch.float32, copy=bool(stored))
    if stored:
        values.mul_(tensors["scale"]).add_(tensors["offset"])
    low, high = value_range(values)
    if not (low >= -MAX_VALUE and high <= MAX_VALUE):
        raise ValueError(
            f"pixel values reach from {low:.6g} to {high:.6g}; allowed: -{MAX_VALUE:g} to {MAX_VALUE:g} on the 0-255 scale"
        )
    return values


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtypes(want: Want) -> str:
    return ", ".join(_dtype(d) for d in want.dtypes)


def _shape(shape: Shape) -> str:
    return "[" + ", ".join(str(d) for d in shape) + "]"


def _shapes(want: Want) -> str:
    return " or ".join(_shape(s) for s in want.shapes)


def _allowed(want: Want) -> str:
    return f"{_shapes(want)} of {_dtypes(want)}"


def _what(tensor: torch.Tensor) -> str:
    return f"{_shape(tuple(tensor.shape))} {_dtype(tensor.dtype)}"
