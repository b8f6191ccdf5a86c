"""A teacher with batch norm, and how far the statistics of clips are from those that it remembers of the train videos.

It is MiniC3D (`convnet3d`) with a batch norm between each convolution and its ReLU. Clips are synthesised so that the mean
and the variance of each batch norm's input are its running statistics (DeepInversion, arXiv 1912.08795; SRe2L, 2306.13092). It
is not a student and is never ranked. It trains in fp32, because no study has compared it in bf16.
"""

from __future__ import annotations

import torch
from torch import nn

from vddbench.evaluation.students import convnet3d

RECIPE = convnet3d.RECIPE


def build(clip_shape: tuple[int, int, int, int], num_classes: int) -> convnet3d.ConvNet3D:
    """clip_shape: (T, H, W, C) with H = W. Raises ValueError for clips that MiniC3D cannot take."""
    model = convnet3d.build(clip_shape, num_classes)
    layers: list[nn.Module] = []
    for layer in model.features:
        layers.append(layer)
        if isinstance(layer, nn.Conv3d):
            layers.append(nn.BatchNorm3d(layer.out_channels))
    model.features = nn.Sequential(*layers)
    return model


def logits_and_distances(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised clips [N, C, T, H, W] -> (logits [N, K], distances [L], one per batch norm), differentiable.

    The model must be in eval mode. The distance of a layer is || mean - running mean || + || variance - running variance ||,
    Euclidean over channels, of its input for these clips: 0 if the statistics match.
    """
    distances: list[torch.Tensor] = []

    def measure(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, nn.BatchNorm3d)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3, 4), correction=0)
        distances.append((mean - layer.running_mean).norm() + (variance - layer.running_var).norm())

    hooks = [m.register_forward_pre_hook(measure) for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    try:
        logits: torch.Tensor = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, torch.stack(distances)
