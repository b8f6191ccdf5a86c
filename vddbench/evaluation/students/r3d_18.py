"""R3D-18, a transfer student: torchvision's 3-D residual network with random initial weights.

Source: Tran et al., CVPR 2018, arXiv 1711.11248. Clips: any shape. Parameters: 33,191,922 for 50 classes.
It has batch norm, so its batch is never split: statistics over fewer clips would make it another network.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.video import r3d_18

from vddbench.evaluation.students._standardise import Standardise
from vddbench.spec import Recipe

RECIPE = Recipe(lr=0.01)  # chosen on validation videos: docs/students.md


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> torch.nn.Module:
    """clip_shape: (T, H, W, C), of any size."""
    return nn.Sequential(Standardise(), r3d_18(weights=None, num_classes=num_classes))
