"""Decoder `pixels`: clips stored as pixels.

| tensor | shape | dtype | |
|---|---|---|---|
| clips | [N, T, H, W, 3] | uint8, float16, float32 | on the 0-255 scale |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |
| scale, offset | [3] each | float32 | optional: value = clips * scale + offset per channel |

Without scale and offset uint8 clips are used as they are; everything else becomes float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import AFFINE, affine, expect, label_want, labels, pixel_want, stays_uint8


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """The stored clips, not copied if they are plain uint8. Raises ValueError with a line for each wrong tensor."""
    expect(tensors, {"clips": pixel_want("N", *spec.clip_shape), "labels": label_want(spec)}, AFFINE)
    return ClipSet(clips=affine(tensors, tensors["clips"]), labels=labels(tensors, spec))


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """The bytes of a uint8 clip if the clips are plain uint8, else of a float32 clip."""
    return spec.clip_bytes if stays_uint8(tensors, "clips") else 4 * spec.clip_bytes
