"""Decoder `basis`: every clip is a combination of clips that all classes share (LinBa, arXiv 2206.02916).

| tensor | shape | dtype | |
|---|---|---|---|
| basis | [B, T, h, w, 3] | uint8, float16, float32 | h = w, a divisor of H = W |
| coefficients | [N, B] | float16, float32 | of each clip |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |
| scale, offset | [3] each | float32 | optional: value = basis * scale + offset per channel |

A clip is the sum over b of coefficients[n, b] * basis[b], on the 0-255 scale, enlarged to H x W as the decoder `factor` does if
the basis is smaller. The arithmetic is float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.decoders.factor import enlarged
from vddbench.submissions.tensors import (
    AFFINE,
    MAX_VALUE,
    PIXEL_DTYPES,
    SOFT_DTYPES,
    Want,
    affine,
    expect,
    label_want,
    labels,
    value_range,
)  # fmt: skip


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips as float32. Raises ValueError with a line for each wrong tensor, or for too large values."""
    frames, size = spec.frames, spec.size
    sides = [side for side in range(size, 0, -1) if size % side == 0]
    wanted = {
        "basis": Want(tuple(("B", frames, side, side, 3) for side in sides), PIXEL_DTYPES),
        "coefficients": Want((("N", "B"),), SOFT_DTYPES),
        "labels": label_want(spec),
    }
    expect(tensors, wanted, AFFINE)
    basis, coefficients = affine(tensors, tensors["basis"]).float(), tensors["coefficients"].float()
    clips = torch.empty((len(coefficients), *spec.clip_shape))
    for n, row in enumerate(coefficients):  # one clip at a time, to keep temporaries small
        clips[n] = enlarged(combined(row[None], basis), spec.clip_shape[:3])[0]
    low, high = value_range(clips)
    if not (low >= -MAX_VALUE and high <= MAX_VALUE):
        raise ValueError(
            f"decoded values reach from {low:.6g} to {high:.6g}; allowed: -{MAX_VALUE:g} to {MAX_VALUE:g} on the 0-255 scale; "
            "use smaller 'coefficients' or 'basis'"
        )
    return ClipSet(clips=clips, labels=labels(tensors, spec))


def combined(coefficients: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """[N, B], [B, ...] -> [N, ...], differentiable: the matrix product with the bases as rows."""
    return (coefficients @ basis.flatten(1)).reshape(-1, *basis.shape[1:])
