"""Plain clips.

clips [N, T, H, W, 3] uint8, float16 or float32 on the 0-255 scale; labels [N] int or [N, K] float; optional scale [3]
and offset [3] float32, per channel: value = stored * scale + offset.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import AFFINE, affine, expect, label_want, labels, pixel_want


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Raises ValueError naming every tensor that is unknown, missing, misshapen or not finite."""
    expect(tensors, {"clips": pixel_want("N", *spec.clip_shape), "labels": label_want(spec)}, AFFINE)
    return ClipSet(clips=affine(tensors, tensors["clips"]), labels=labels(tensors, spec))
