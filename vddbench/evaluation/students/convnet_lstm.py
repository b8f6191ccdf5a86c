"""ConvNet + LSTM, a transfer student: a 2-D ConvNet-3 on every frame, then an LSTM over time with 8,192 hidden units.

It has as many hidden units as features, as published: 2 GB of weights, and 6 GB with gradients and momentum.

Source: a cross-architecture student of SDD (arXiv 2312.00362); `_per_frame.py` has its details. Clips: any shape; frames are
brought to 64x64 pixels. Parameters: 537,645,618 for 50 classes.
"""

from __future__ import annotations

from torch import nn

from vddbench.evaluation.students._per_frame import FEATURES, Recurrent
from vddbench.spec import Recipe

RECIPE = Recipe(lr=0.01)  # of SDD; validation videos show no better one: docs/students.md


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> Recurrent:
    """clip_shape: (T, H, W, C), of any size."""
    return Recurrent(nn.LSTM, FEATURES, num_classes)
