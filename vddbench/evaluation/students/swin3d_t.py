"""Video Swin Transformer, tiny, a transfer student: torchvision's network with random initial weights.

Source: Liu et al., CVPR 2022, arXiv 2106.13230. Clips: any shape, padded to windows. Parameters: 27,888,920 for 50 classes.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.video import swin3d_t

from vddbench.evaluation.students._standardise import Standardise
from vddbench.spec import Recipe

RECIPE = Recipe(lr=0.001)  # chosen on validation videos: docs/students.md


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> torch.nn.Module:
    """clip_shape: (T, H, W, C), of any size."""
    return nn.Sequential(Standardise(), swin3d_t(weights=None, num_classes=num_classes))
