"""Students: one file per network. `vddbench evaluate --students NAME` trains the network of NAME.py.

A file has what `StudentModule` asks for, and its docstring says the network's source, clip shapes and number of parameters. A
recipe is part of the protocol's hash: a student whose recipe or network changes gets a new name. The first layer of every
student is `Standardise` (_standardise.py), which the protocol demands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vddbench.spec import Recipe

if TYPE_CHECKING:
    import torch


class StudentModule(Protocol):
    """The contract of a file in vddbench/evaluation/students/.

    `BF16 = True` is optional and allows bf16 autocast; `python leaderboard/studies precision` must have shown no shift first.
    `GRAPH = True` is optional and allows a GPU to repeat a training step as a CUDA graph: a step must be the same operations on
    the same shapes each time, with no random numbers or branches of Python.
    """

    RECIPE: Recipe

    def build(self, clip_shape: tuple[int, int, int, int], num_classes: int) -> torch.nn.Module:
        """A network with its initial weights, from normalised clips [N, C, T, H, W] to logits [N, num_classes].

        clip_shape: (T, H, W, C). Random numbers come from PyTorch's global generator, which is seeded before the call.
        Raises ValueError for clips that the network cannot take.
        """
