"""One frame a clip, shown T times: appearance without motion.

frames [N, H, W, 3] uint8, float16 or float32 on the 0-255 scale; labels [N] int or [N, K] float; optional scale [3]
and offset [3] float32, per channel: value = stored * scale + offset.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import AFFINE, affine, expect, label_want, labels, pixel_want


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """The clips are a view of the frames (stride 0 along T). Raises ValueError naming every tensor at fault."""
    wanted = {"frames": pixel_want("N", *spec.clip_shape[1:]), "labels": label_want(spec)}
    expect(tensors, wanted, AFFINE)
    frames = affine(tensors, tensors["frames"])
    return ClipSet(clips=frames[:, None].expand(-1, spec.frames, -1, -1, -1), labels=labels(tensors, spec))
