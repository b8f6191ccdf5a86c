"""One linear layer on all values of a clip. Source: made up for tests."""

from __future__ import annotations

import math

import torch

from vddbench.spec import Recipe

RECIPE = Recipe(lr=0.01)


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(clip_shape), num_classes))
