"""Decoder `still`: one frame per clip, repeated T times, so that a clip has appearance and no motion.

| tensor | shape | dtype | |
|---|---|---|---|
| frames | [N, H, W, 3] | uint8, float16, float32 | on the 0-255 scale |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |
| scale, offset | [3] each | float32 | optional: value = frames * scale + offset per channel |

Without scale and offset uint8 frames are used as they are; everything else becomes float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import AFFINE, affine, expect, label_want, labels, pixel_want, stays_uint8


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips as a view of the frames (stride 0 along T). Raises ValueError with a line for each wrong tensor."""
    wanted = {"frames": pixel_want("N", *spec.clip_shape[1:]), "labels": label_want(spec)}
    expect(tensors, wanted, AFFINE)
    frames = affine(tensors, tensors["frames"])
    return ClipSet(clips=frames[:, None].expand(-1, spec.frames, -1, -1, -1), labels=labels(tensors, spec))


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """The bytes of a uint8 clip if the frames are plain uint8, else of a float32 clip.

    A copy on a GPU holds every frame of every clip.
    """
    return spec.clip_bytes if stays_uint8(tensors, "frames") else 4 * spec.clip_bytes
