"""ConvNet + GRU, a transfer student: a 2-D ConvNet-3 on every frame, then a GRU over time.

Source: a cross-architecture student of SDD (arXiv 2312.00362): width 128, GroupNorm(C, C) as instance norm, ReLU, 2x2 average
pooling; 8,192 features per frame; GRU with features / 8 hidden units; mean over time; linear. The released code did not run: it
builds the network for 112 pixels and feeds it 64. Clips: any shape; frames are brought to 64x64 pixels.
Parameters: 28,668,466 for 50 classes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.evaluation.students._standardise import Standardise
from vddbench.spec import Recipe

# The lr of SDD. `python leaderboard/studies lr` found no better one on movingshapes-ipc1: 0.001, 0.01 and 0.1 gave 13.5, 14.6
# and 12.5 % on its 96 validation videos (one seed each, 2 CPU cores), none different from chance, 12.5 %.
RECIPE = Recipe(lr=0.01)
SIDE, WIDTH = 64, 128


class ConvNetGRU(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.standardise = Standardise()
        layers: list[nn.Module] = []
        channels = 3
        for _ in range(3):
            layers += [nn.Conv2d(channels, WIDTH, 3, padding=1), nn.GroupNorm(WIDTH, WIDTH), nn.ReLU(), nn.AvgPool2d(2)]
            channels = WIDTH
        self.frame = nn.Sequential(*layers)
        features = WIDTH * (SIDE // 8) ** 2
        self.gru = nn.GRU(features, features // 8, batch_first=True)
        self.head = nn.Linear(features // 8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, T, H, W] normalised -> logits [N, K]."""
        num_clips, _, frames = x.shape[:3]
        images = to_side(self.standardise(x).transpose(1, 2).flatten(0, 1))  # [N*T, C, 64, 64]
        features = self.frame(images).flatten(1).unflatten(0, (num_clips, frames))
        hidden, _ = self.gru(features)
        logits: torch.Tensor = self.head(hidden.mean(1))
        return logits


def to_side(images: torch.Tensor) -> torch.Tensor:
    """[M, C, H, W] -> [M, C, 64, 64]. Larger frames are cropped to their centre, smaller ones resized."""
    height, width = images.shape[2:]
    if min(height, width) < SIDE:
        return F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return images[:, :, top : top + SIDE, left : left + SIDE]


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> ConvNetGRU:
    """clip_shape: (T, H, W, C), of any size."""
    return ConvNetGRU(num_classes)
