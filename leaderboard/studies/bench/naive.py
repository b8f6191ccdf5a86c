"""Straightforward versions of what the benchmarks time, written as in research code. No record is made with them.

`bench --distillers` compares with one step of each matching baseline: a loop over classes, fp32, PyTorch's own memory layout,
clips from a DataLoader, and one graph through all inner steps of trajectory matching. docs/speed.md needs it for the columns
"straightforward" and "faster" and for the memory of mtt "when written straight down". The loops of released.py, with which
`bench --released` and `bench --gpu` compare, use its clips and its network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.utils.data import DataLoader, Dataset

from vddbench.baselines import frepo, static_dc
from vddbench.data.store import Split
from vddbench.evaluation.students import convnet3d
from vddbench.spec import DatasetSpec


class Clips(Dataset[tuple[torch.Tensor, int]]):
    """One item a video: a random clip of it, or the clip's first frames, normalised as by torchvision, [C, T, H, W]."""

    def __init__(self, split: Split, frames: int) -> None:
        self.split, self.frames = split, frames
        self.mean = torch.tensor(split.spec.mean)[:, None, None, None]
        self.std = torch.tensor(split.spec.std)[:, None, None, None]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        start = int(torch.randint(int(self.split.last_starts[item]) + 1, ()))
        clip = self.split.clips(np.array([item]), np.array([start]))[0, : self.frames]
        return (clip.permute(3, 0, 1, 2).float() / 255 - self.mean) / self.std, int(self.split.labels[item])


def endless(split: Split, batch: int, frames: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled batches of (clips, labels), pass after pass."""
    while True:
        yield from DataLoader(Clips(split, frames), batch, shuffle=True, drop_last=len(split) >= batch)


def by_class(split: Split, per_class: int, frames: int) -> list[Iterator[tuple[torch.Tensor, torch.Tensor]]]:
    """Endless batches of each class."""
    return [endless(split.only(split.labels == label), per_class, frames) for label in range(split.spec.num_classes)]


def start(split: Split, ipc: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.optim.Optimizer]:
    """(clips of noise [K*ipc, C, T, H, W], their labels, SGD on them)."""
    spec = split.spec
    clips = torch.randn(spec.num_classes * ipc, 3, *spec.clip_shape[:3], device=device).requires_grad_()
    labels = torch.arange(spec.num_classes, device=device).repeat_interleave(ipc)
    return clips, labels, torch.optim.SGD([clips], lr=1e-3, momentum=0.5)


def dm_step(split: Split, ipc: int, real_per_class: int, device: torch.device) -> Callable[[], None]:
    clips, labels, sgd = start(split, ipc, device)
    loaders = by_class(split, real_per_class, split.spec.frames)

    def step() -> None:
        net = fresh(split.spec, device)
        loss = torch.zeros((), device=device)
        for label, loader in enumerate(loaders):
            real = net.embed(next(loader)[0].to(device)).detach().mean(0)
            loss = loss + (real - net.embed(clips[labels == label]).mean(0)).square().sum()
        descend(sgd, loss)

    return step


def static_dc_step(split: Split, ipc: int, real_per_class: int, device: torch.device) -> Callable[[], None]:
    clips, labels, _ = start(split, ipc, device)
    stills = clips.detach()[:, :, 0].clone().requires_grad_()
    sgd = torch.optim.SGD([stills], lr=1e-3, momentum=0.5)
    loaders = by_class(split, real_per_class, 1)

    def step() -> None:
        net = static_dc.convnet(split.spec, 0, device)
        weights = [p for p in net.parameters() if p.ndim > 1]
        loss = torch.zeros((), device=device)
        for label, loader in enumerate(loaders):
            real, target = (part.to(device) for part in next(loader))
            wanted = torch.autograd.grad(F.cross_entropy(net(real[:, :, 0]), target * 0 + label), weights)
            mine = F.cross_entropy(net(stills[labels == label]), labels[labels == label])
            gradients = torch.autograd.grad(mine, weights, create_graph=True)
            loss = loss + static_dc.distance([w.detach() for w in wanted], gradients)
        descend(sgd, loss)

    return step


def mtt_step(split: Split, ipc: int, inner_steps: int, device: torch.device) -> Callable[[], None]:
    clips, labels, sgd = start(split, ipc, device)
    net = fresh(split.spec, device).eval()
    first = {name: p.detach() for name, p in net.named_parameters()}
    target = {name: p + 0.01 * torch.randn_like(p) for name, p in first.items()}

    def step() -> None:
        weights = {name: p.clone().requires_grad_() for name, p in first.items()}
        for _ in range(inner_steps):
            loss = F.cross_entropy(functional_call(net, weights, (clips,)), labels)
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {name: p - 0.01 * g for (name, p), g in zip(weights.items(), gradients, strict=True)}
        near = torch.stack([(weights[name] - target[name]).square().sum() for name in weights]).sum()
        far = torch.stack([(first[name] - target[name]).square().sum() for name in first]).sum()
        descend(sgd, near / far)

    return step


def frepo_step(split: Split, ipc: int, real_batch: int, device: torch.device) -> Callable[[], None]:
    clips, labels, sgd = start(split, ipc, device)
    net, num_classes = fresh(split.spec, device), split.spec.num_classes
    adam = torch.optim.Adam(net.parameters(), lr=1e-4)
    loader = endless(split, real_batch, split.spec.frames)

    def step() -> None:
        real, target = (part.to(device) for part in next(loader))
        y = frepo.centred(frepo.one_hot(labels, num_classes))
        predicted = frepo.ridge_prediction(net.embed(real), net.embed(clips), y, 1e-6)
        descend(sgd, (predicted - frepo.centred(frepo.one_hot(target, num_classes))).square().mean())
        descend(adam, (net(clips.detach()) - y).square().mean())

    return step


def fresh(spec: DatasetSpec, device: torch.device) -> convnet3d.ConvNet3D:
    return convnet3d.build(spec.clip_shape, spec.num_classes).to(device)


def descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def normalised(clips: torch.Tensor, spec: DatasetSpec) -> torch.Tensor:
    """[N, T, H, W, C] uint8 -> [N, C, T, H, W] float32 on the CPU, in PyTorch's own layout."""
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (spec.mean, spec.std))
    return (clips.permute(0, 4, 1, 2, 3).float() / 255 - mean) / std
