"""ConvNet + GRU, a transfer student: a 2-D ConvNet-3 on every frame, then a GRU over time with features / 8 hidden units.

Source: a cross-architecture student of SDD (arXiv 2312.00362); `_per_frame.py` has its details. Clips: any shape; frames are
brought to 64x64 pixels. Parameters: 28,668,466 for 50 classes.
"""

from __future__ import annotations

from torch import nn

from vddbench.evaluation.students._per_frame import FEATURES, Recurrent
from vddbench.spec import Recipe

RECIPE = Recipe(lr=0.01)  # of SDD; validation videos show no better one: docs/students.md


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> Recurrent:
    """clip_shape: (T, H, W, C), of any size."""
    return Recurrent(nn.GRU, FEATURES // 8, num_classes)
