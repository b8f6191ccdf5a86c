"""The first layer of every student. Not a student itself, because its name begins with _."""

from __future__ import annotations

import torch
from torch import nn

FLOOR = 1 / 64  # in normalised units, about one grey level: the rounding of a uniform clip is not blown up to full contrast


class Standardise(nn.Module):
    """Each clip minus its mean, over its standard deviation: two numbers per clip, over time, space and colours.

    They depend on the clip alone, so an answer does not depend on the other clips of a batch. SDD (arXiv 2312.00362) takes
    two numbers per batch instead, also of test videos that are sorted by class, which reveals labels.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, T, H, W] -> the same shape, mean 0 and standard deviation 1 per clip. Differentiable."""
        deviation, mean = torch.std_mean(x, (1, 2, 3, 4), correction=0, keepdim=True)
        return (x - mean) / deviation.clamp_min(FLOOR)
