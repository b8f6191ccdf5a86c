"""Differentiable siamese augmentation (DSA, arXiv 2102.08259): one random change, the same for real and synthetic clips.

A change is drawn once and applied to all clips that are compared, and to all frames of each, so that it adds no motion. The
kinds and their strengths are those of DSA's code for 32 x 32 images; those that are shares of the image apply to any size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.spec import DatasetSpec

KINDS = ("colour", "crop", "cutout", "flip", "scale", "rotate")  # DSA's default strategy; one of them a time
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5  # DSA; in units of the network
CROP, CUTOUT = 0.125, 0.5  # share of the side by which the image moves, and of the side that is blanked; DSA
SCALE, DEGREES = 1.2, 15.0  # largest factor, largest angle; DSA


class Change(NamedTuple):
    """A kind of change, and three uniform numbers in [0, 1) that fix how much."""

    kind: str
    amounts: tuple[float, float, float]


def draw(rng: np.random.Generator, spec: DatasetSpec) -> Change:
    """A random change. Mirroring is left out if it would change the dataset's labels."""
    kinds = [kind for kind in KINDS if kind != "flip" or spec.hflip_keeps_label]
    a, b, c = rng.random(3).tolist()
    return Change(kinds[int(rng.integers(len(kinds)))], (a, b, c))


def changed(x: torch.Tensor, change: Change | None) -> torch.Tensor:
    """Normalised clips [N, C, T, H, W] after the change; None: as they are. Differentiable in x."""
    if change is None:
        return x
    a, b, c = change.amounts
    if change.kind == "colour":
        return _coloured(x, a, b, c)
    if change.kind == "crop":
        return _moved(x, _offset(a, x.shape[3]), _offset(b, x.shape[4]))
    if change.kind == "cutout":
        return x * _window(x, a, b)
    if change.kind == "flip":
        return x.flip(4) if a < 0.5 else x
    return _sampled(x, _map(change.kind, a, b))


def _coloured(x: torch.Tensor, brightness: float, saturation: float, contrast: float) -> torch.Tensor:
    x = x + (brightness - 0.5) * BRIGHTNESS
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (saturation * SATURATION)
    mean = x.mean((1, 2, 3, 4), keepdim=True)
    return mean + (x - mean) * (contrast + CONTRAST)


def _offset(amount: float, side: int) -> int:
    most = round(CROP * side)
    return int(amount * (2 * most + 1)) - most


def _moved(x: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Moved over the image; what enters at the edges is 0."""
    height, width = x.shape[3:]
    padded = F.pad(x, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    top, left = max(-down, 0), max(-right, 0)
    return padded[..., top : top + height, left : left + width]


def _window(x: torch.Tensor, a: float, b: float) -> torch.Tensor:
    """[H, W]: 0 in a square around a random pixel, 1 elsewhere."""
    window = x.new_ones(x.shape[3:])
    (top, bottom), (left, right) = (_span(amount, side) for amount, side in zip((a, b), x.shape[3:], strict=True))
    window[top:bottom, left:right] = 0
    return window


def _span(amount: float, side: int) -> tuple[int, int]:
    half = round(CUTOUT * side) // 2
    centre = int(amount * side)
    return max(centre - half, 0), centre + half


def _map(kind: str, a: float, b: float) -> list[list[float]]:
    """The affine map of the image that scales or rotates."""
    if kind == "scale":
        return [[_factor(a), 0.0, 0.0], [0.0, _factor(b), 0.0]]
    assert kind == "rotate", kind
    angle = (2 * a - 1) * math.radians(DEGREES)
    return [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]


def _factor(amount: float) -> float:
    return 1 / SCALE + amount * (SCALE - 1 / SCALE)


def _sampled(x: torch.Tensor, matrix: list[list[float]]) -> torch.Tensor:
    """Every frame at the places that the affine map `matrix` [2, 3] of the image gives, bilinearly; 0 outside."""
    frames = x.flatten(1, 2)  # colours and frames as channels of one image
    theta = torch.tensor(matrix, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, align_corners=False).view_as(x)
