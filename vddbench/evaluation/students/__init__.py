"""One file per network with its frozen `RECIPE`: `build(clip_shape, num_classes)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vddbench.spec import Recipe

if TYPE_CHECKING:
    import torch


class StudentModule(Protocol):
    """A file in vddbench/evaluation/students/. The network maps normalised [N, C, T, H, W] to logits [N, K].

    `BF16 = True` in the file allows bf16 autocast: only after `python leaderboard/studies precision` has shown no shift.
    """

    RECIPE: Recipe

    def build(self, clip_shape: tuple[int, int, int, int], num_classes: int) -> torch.nn.Module: ...
