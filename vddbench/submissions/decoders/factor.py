"""Decoder `factor`: each stored clip is a grid of smaller clips, which are enlarged (multi-formation, IDC, arXiv 2205.14959).

| tensor | shape | dtype | |
|---|---|---|---|
| clips | [N, T, H, W, 3] | uint8, float16, float32 | on the 0-255 scale |
| factor | [2] | uint8 | fs and ft: rows and columns of the grid, and its parts in time |
| labels | [N] or [N, K] | int, or float16, float32 | of all clips in a stored one: class indices, or probabilities |
| scale, offset | [3] each | float32 | optional: value = clips * scale + offset per channel |

A stored clip holds ft * fs * fs clips of T/ft frames of H/fs x W/fs pixels, sorted by part in time, then by row, then by
column. Each is enlarged to T frames of H x W by linear interpolation along time, then height, then width: sample i of m lies at
(i + 1/2) n/m - 1/2 among the n stored ones; beyond the first and the last of these they are repeated. The arithmetic is
float32. The payload decodes to N*ft*fs*fs clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import AFFINE, Want, affine, expect, label_want, labels, pixel_want, stays_uint8

MAX_COPIES = 64  # clips in a stored one; IDC has at most 9 images


class Factor(NamedTuple):
    """How many clips a stored clip holds along each direction."""

    space: int  # rows, and columns
    time: int

    @property
    def copies(self) -> int:
        """Clips in a stored one."""
        return self.time * self.space**2

    def check(self, spec: DatasetSpec) -> None:
        """Raises ValueError unless the grid divides the frames and their pixels evenly into at most MAX_COPIES clips."""
        if min(self) < 1 or spec.size % self.space or spec.frames % self.time or self.copies > MAX_COPIES:
            raise ValueError(
                f"factor ({self.space}, {self.time}) cannot divide clips of {spec.frames} frames of {spec.size} x {spec.size} "
                f"pixels; allowed: a divisor of {spec.size} for space and of {spec.frames} for time, of which time x space x "
                f"space is at most {MAX_COPIES}"
            )


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips: uint8 if the stored ones are plain uint8, rounded to nearest; else float32.

    Raises ValueError with a line for each wrong tensor, or for a grid that does not fit the clips.
    """
    wanted = {
        "clips": pixel_want("N", *spec.clip_shape),
        "factor": Want(((2,),), (torch.uint8,)),
        "labels": label_want(spec),
    }
    expect(tensors, wanted, AFFINE)
    factor = Factor(*tensors["factor"].tolist())
    try:
        factor.check(spec)
    except ValueError as error:
        raise ValueError(f"tensor 'factor': {error}") from error
    stored = affine(tensors, tensors["clips"])
    clips = torch.empty((len(stored), factor.copies, *spec.clip_shape), dtype=stored.dtype)
    for n, clip in enumerate(stored):  # one at a time, to keep temporaries small
        large = enlarged(cells(clip[None], factor).float(), spec.clip_shape[:3])
        clips[n] = large if stored.is_floating_point() else large.round()
    return ClipSet(clips=clips.flatten(0, 1), labels=labels(tensors, spec).repeat_interleave(factor.copies, 0))


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """The bytes of a uint8 clip if the stored clips are plain uint8, else of a float32 clip."""
    return spec.clip_bytes if stays_uint8(tensors, "clips") else 4 * spec.clip_bytes


def clips_per_label(tensors: Mapping[str, torch.Tensor]) -> int:
    """Clips in a stored one. The tensors are not checked yet."""
    factor = tensors.get("factor")
    if factor is None or factor.shape != (2,) or factor.dtype != torch.uint8:
        return 1  # `decode` refuses it
    return max(1, Factor(*factor.tolist()).copies)


def cells(clips: torch.Tensor, factor: Factor) -> torch.Tensor:
    """[N, T, H, W, C] -> the smaller clips [N*copies, T/ft, H/fs, W/fs, C], in the order of the docstring of this file."""
    space, time = factor
    count, frames, height, width, channels = clips.shape
    grid = clips.reshape(count, time, frames // time, space, height // space, space, width // space, channels)
    return grid.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(0, 3)


def mosaic(cells: torch.Tensor, factor: Factor) -> torch.Tensor:
    """The inverse of `cells`."""
    space, time = factor
    _, frames, height, width, channels = cells.shape
    grid = cells.reshape(-1, time, space, space, frames, height, width, channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return grid.reshape(-1, time * frames, space * height, space * width, channels)


def enlarged(clips: torch.Tensor, size: Sequence[int], first: int = 1) -> torch.Tensor:
    """Floats [N, t, h, w, C] -> [N, *size, C], differentiable. first: dimension of the frames (2 for [N, C, t, h, w])."""
    for dim, count in enumerate(size, first):
        clips = _stretched(clips, dim, count)
    return clips


def _stretched(x: torch.Tensor, dim: int, count: int) -> torch.Tensor:
    """`count` samples along a dimension, interpolated linearly."""
    stored = x.shape[dim]
    if stored == count:
        return x
    at = ((torch.arange(count, dtype=torch.float64) + 0.5) * stored / count - 0.5).clamp(0, stored - 1)
    left = at.floor().long()
    right = (left + 1).clamp(max=stored - 1)
    share = (at - left).to(x.device, x.dtype).reshape(-1, *[1] * (x.ndim - 1 - dim))
    return torch.lerp(x.index_select(dim, left.to(x.device)), x.index_select(dim, right.to(x.device)), share)
