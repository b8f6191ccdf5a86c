"""Features of clips in MiniC3D networks, for distillers. Features are those before the pooling head."""

from __future__ import annotations

import numpy as np
import torch

from vddbench.distillation.augment import Change, changed
from vddbench.evaluation.hardware import best_precision
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import build, to_input
from vddbench.spec import DatasetSpec

BATCH = {"cpu": 32, "cuda": 512}  # clips per forward pass without gradients


def random_net(spec: DatasetSpec, seed: int, device: torch.device) -> convnet3d.ConvNet3D:
    """A MiniC3D with the initial weights of a student with this seed. Its weights need no gradients."""
    net = build(convnet3d, spec, seed, device)
    assert isinstance(net, convnet3d.ConvNet3D)
    return net.requires_grad_(False)


def fresh_seed(rng: np.random.Generator) -> int:
    """A random seed for PyTorch."""
    return int(rng.integers(2**31))


def autocast(device: torch.device) -> torch.autocast:
    """A context in which networks run in the precision that students train in on this device."""
    return torch.autocast(device.type, torch.bfloat16, enabled=best_precision(device, convnet3d) == "bf16")


def embed(net: convnet3d.ConvNet3D, x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Normalised [N, C, T, H, W] -> float32 features [N, D], differentiable in x."""
    with autocast(device):
        return net.embed(x).float()


@torch.no_grad()
def features(
    net: convnet3d.ConvNet3D, clips: torch.Tensor, spec: DatasetSpec, device: torch.device, change: Change | None = None
) -> torch.Tensor:
    """uint8 [N, T, H, W, C] -> float32 features [N, D] without gradients, in batches of BATCH clips, after the change."""
    size = BATCH[device.type]
    parts = [changed(to_input(clips[i : i + size], spec, device), change) for i in range(0, len(clips), size)]
    return torch.cat([embed(net, part, device) for part in parts])


def class_means(values: torch.Tensor, num_classes: int) -> torch.Tensor:
    """[K*n, D], class by class -> [K, D], the mean of each class's n rows."""
    return values.reshape(num_classes, -1, values.shape[1]).mean(1)
