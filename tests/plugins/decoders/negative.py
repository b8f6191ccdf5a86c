"""Clips stored as negatives [N, T, H, W, 3] uint8, with labels [N] int or [N, K] float."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import expect, label_want, labels, pixel_want


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    expect(tensors, {"negatives": pixel_want("N", *spec.clip_shape), "labels": label_want(spec)}, {})
    return ClipSet(clips=255 - tensors["negatives"], labels=labels(tensors, spec))
