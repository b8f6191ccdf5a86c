"""The exact gradient through N steps of SGD, in the memory of one step, for trajectory matching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

# (weights [P], clips [B, ...], labels [B] or [B, K]) -> scalar
LossOf = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The matching loss and its gradients, all detached."""

    loss: torch.Tensor  # scalar; 1 for a student that doesn't move
    clips_gradient: torch.Tensor  # [N, ...] as the clips
    lr_gradient: torch.Tensor  # scalar
    labels_gradient: torch.Tensor | None  # [N, K] as the labels; None for class indices


def matched(
    loss_of: LossOf,
    start: torch.Tensor,
    target: torch.Tensor,
    clips: torch.Tensor,
    labels: torch.Tensor,
    lr: torch.Tensor,
    batches: Sequence[torch.Tensor | None],
) -> Matched:
    """The loss after one SGD step per batch, and its exact gradient, in the memory of one step.

    start, target: weights [P]. labels: [N] class indices, or [N, K] distributions, which have a gradient too. batches: the rows
    of `clips` that each step takes; None: all. TESLA (2211.10586) saves memory by neglecting how theta_i depends on the
    clips of earlier steps; here the gradient is exact. The weights of every step are kept (P numbers each; for a GPU in the
    host's memory), and the backward pass goes through the steps one at a time with
    lambda_i = dloss/dtheta_i = lambda_{i+1} - lr H_i lambda_{i+1}, building the graph of that step only.
    """
    passed = torch.empty((len(batches), *start.shape), dtype=start.dtype, pin_memory=start.is_cuda)
    theta = start
    for i, rows in enumerate(batches):
        passed[i].copy_(theta, non_blocking=True)
        weights = theta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(_on(loss_of, weights, clips, labels, rows), weights)
        theta = theta - lr * gradient
    scale = (start - target).square().sum()
    adjoint = 2 * (theta - target) / scale  # lambda_N
    learned = [clips, labels] if labels.is_floating_point() else [clips]
    gradients, lr_gradient = [torch.zeros_like(value) for value in learned], torch.zeros_like(lr)
    for i in reversed(range(len(batches))):
        weights = passed[i].to(start.device, non_blocking=True).requires_grad_()
        inputs = [value.detach().requires_grad_() for value in learned]
        x, y = inputs if len(inputs) == 2 else (inputs[0], labels)
        (gradient,) = torch.autograd.grad(_on(loss_of, weights, x, y, batches[i]), weights, create_graph=True)
        curved, *mixed = torch.autograd.grad(gradient, (weights, *inputs), adjoint)  # H lambda, (dgradient/dclips)^T lambda
        lr_gradient -= gradient.detach() @ adjoint
        gradients = [total - lr * part for total, part in zip(gradients, mixed, strict=True)]
        adjoint = adjoint - lr * curved
        del gradient  # the graph of this step, before the next one is built
    return Matched(
        loss=(theta - target).square().sum() / scale,
        clips_gradient=gradients[0],
        lr_gradient=lr_gradient,
        labels_gradient=gradients[1] if len(gradients) == 2 else None,
    )


def _on(
    loss_of: LossOf, weights: torch.Tensor, clips: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor | None
) -> torch.Tensor:
    return loss_of(weights, clips, labels) if rows is None else loss_of(weights, clips[rows], labels[rows])
