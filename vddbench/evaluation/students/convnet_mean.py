"""ConvNet + mean, a transfer student without a sense of order: a 2-D ConvNet-3 on every frame, then the mean over time.

It shows what single frames tell about a class. Source: a cross-architecture student of SDD (arXiv 2312.00362); `_per_frame.py`
has its details. Clips: any shape; frames are brought to 64x64 pixels. Parameters: 709,170 for 50 classes.
"""

from __future__ import annotations

from vddbench.evaluation.students._per_frame import Mean
from vddbench.spec import Recipe

RECIPE = Recipe(lr=0.01)  # of SDD; validation videos show no better one: docs/students.md


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> Mean:
    """clip_shape: (T, H, W, C), of any size."""
    return Mean(num_classes)
