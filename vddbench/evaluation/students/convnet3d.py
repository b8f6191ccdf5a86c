"""MiniC3D, the ranked student: three strided 3-D convolutions on standardised clips.

Source: ConvNet3D in SDD's `networks.py` (arXiv 2312.00362). Clips: at least 8 frames of 43 to 64 or at least 107 pixels a side.
Features: 2,048 for a clip of 16x112x112, 256 for one of 8x64x64. Parameters: 3,647,666 for 50 classes.
"""

from __future__ import annotations

import torch
from torch import nn

from vddbench.evaluation.students._standardise import Standardise
from vddbench.spec import Recipe

RECIPE = Recipe(lr=0.01)  # as in SDD's evaluate_synset
BF16 = True  # no shift in the parity study: leaderboard/studies/precision-*.csv, docs/speed.md
GRAPH = True  # each training step is the same operations on the same shapes


class ConvNet3D(nn.Module):
    def __init__(self, clip_shape: tuple[int, int, int, int], num_classes: int) -> None:
        super().__init__()
        height = clip_shape[1]
        widths, pools = (64, 128, 128), ((1, 2, 2), (2, 2, 2), (2, 2, 2))
        layers: list[nn.Module] = []
        channels = 3
        for wide, pool in zip(widths, pools, strict=True):
            layers += [nn.Conv3d(channels, wide, (3, 7, 7), (1, 2, 2), (1, 3, 3)), nn.ReLU(), nn.MaxPool3d(pool)]
            channels = wide
        self.standardise: nn.Module = Standardise()
        self.features = nn.Sequential(*layers)
        self.pool = nn.AvgPool3d((2, 2, 2) if height > 64 else (2, 1, 1), stride=1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Conv3d(channels, num_classes, 1)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, T, H, W] -> [N, features]: the features that distillers match."""
        embedded: torch.Tensor = self.features(self.standardise(x)).flatten(1)
        return embedded

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, T, H, W] normalised -> logits [N, K]: maximum over time, mean over space (one cell at 64 and 112 pixels)."""
        logits: torch.Tensor = self.head(self.dropout(self.pool(self.features(self.standardise(x)))))  # [N, K, t, h, w]
        return logits.mean((3, 4)).amax(2)


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> ConvNet3D:
    """clip_shape: (T, H, W, C) with H = W. Raises ValueError for clips that the network would shrink to nothing."""
    frames, height, width, _ = clip_shape
    if frames < 8 or not (43 <= height <= 64 or height >= 107):  # six halvings, and a 2x2 pool above 64 pixels
        raise ValueError(
            f"convnet3d needs clips of at least 8 frames and of 43 to 64 or at least 107 pixels a side, "
            f"not {frames}x{height}x{width}; prepare the data with another --frames or --size"
        )
    return ConvNet3D(clip_shape, num_classes)
