"""static_dc: stills whose training gradients match those of single real frames, each shown for a whole clip.

Gradient matching (DC, arXiv 2006.05929) on one or more frames per class, as SDD (2312.00362) does it before it learns its
dynamic memory. Each iteration draws a fresh 2-D ConvNet-3; for every class the gradients of cross-entropy on real frames and on
the class's stills are compared layer by layer. Settings of static_dc on video are not published: these are DC's.

Preset fast on 10 classes of avletters, ipc 1, protocol v3, 200 student steps, one thread of an AMD EPYC: 19.7 % (3 students of
one set), `random` 12.3. Published on MiniUCF ipc 1: 13.7 +- 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.data.store import Split
from vddbench.distillation.augment import Change, changed, draw
from vddbench.distillation.contract import About
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.features import autocast, fresh_seed
from vddbench.distillation.optimiser import Kind, follow_cosine, make_optimiser
from vddbench.distillation.real_clips import RealFrames, balanced, stream
from vddbench.distillation.synthetic_clips import MemoryLearner, Stills, still_start
from vddbench.evaluation.train import to_input
from vddbench.spec import DatasetSpec, Task

DECODER = "still"
PAPER = "https://arxiv.org/abs/2006.05929"
ABOUT = About(family="gradient matching")
WIDTH = 128  # DC's ConvNet
LOOPS = {1: (1, 1), 5: (1, 1), 10: (10, 50), 20: (20, 25)}  # stills per class: (outer, inner); DC get_loops, 5 as SDD edits it
EPSILON = 1e-6  # in the cosine's denominator; DC distance_wb
FRAMES_AT_ONCE = {"cpu": 32, "cuda": 256}  # real frames a backward pass


@dataclass(frozen=True)
class Config:
    iterations: int = 1000  # DC
    real_per_class: int = 256  # real frames per class and outer step; DC batch_real
    optimiser: Kind = "sgd"  # DC
    lr: float = 0.1  # DC lr_img
    momentum: float = 0.5  # DC
    outer: int = 0  # matching steps per network; 0: as published for this number of stills (LOOPS)
    inner: int = 0  # passes over the stills that train the network between two matching steps; 0: as published
    lr_net: float = 0.01  # DC lr_net
    batch_train: int = 256  # stills per step of the network's training; DC
    final_lr: float = 1.0  # share of lr that a cosine ends at; 1: constant, as published
    start_mean_of: int = 1  # real clips averaged, over time too, into each still it starts from; published: one frame
    smooth: float = 0.0  # pixels, see synthetic_clips.Pixels; ours: published is 0
    dsa: bool = False  # DSA (2102.08259), see augment.py: each class has a change of its own at each matching step; DC: none

    def rates(self) -> dict[str, float]:
        """The learning rate of each parameter of the memory."""
        return {"clips": self.lr}


PRESETS = {
    "fast": Config(  # 6 % of the iterations, 8 real frames, not 256
        iterations=60,
        real_per_class=8,
        optimiser="adam",
        lr=0.001,  # 22.5 % on validation (3 students, 40 videos); leaderboard/studies/
        momentum=0.9,
        final_lr=0.0,
        start_mean_of=16,
        smooth=2.0,
    ),
    "smoke": Config(iterations=1, real_per_class=1),
    "dsa": Config(dsa=True),
}
PRESETS["fast_dsa"] = replace(PRESETS["fast"], dsa=True)


# --- the network, its gradients and their distance ------------------------------------------------------------------


def convnet(spec: DatasetSpec, seed: int, device: torch.device) -> nn.Sequential:
    """DC's ConvNet: three times 3x3 convolution, instance norm, ReLU, 2x2 average pool; then a linear head."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(3):
        layers += [nn.Conv2d(channels, WIDTH, 3, padding=1), nn.GroupNorm(WIDTH, WIDTH), nn.ReLU(), nn.AvgPool2d(2)]
        channels = WIDTH
    head = nn.Linear(WIDTH * (spec.size // 8) ** 2, spec.num_classes)
    return nn.Sequential(*layers, nn.Flatten(), head).to(device)


def gradients(net: nn.Module, images: torch.Tensor, label: int, differentiable: bool = False) -> tuple[torch.Tensor, ...]:
    """Gradients of the mean cross-entropy of `images` [n, C, H, W] of class `label`, one per weight (no biases, no norms).

    Differentiable ones are in fp32. The others, averages over many images, may be in bf16: at 64x64 and 16 real frames the
    gradient of the pixels then has cosine 0.998 with that of fp32 (0.93 with the stills in bf16 too), for 60 % of the time.
    """
    weights = [p for p in net.parameters() if p.ndim > 1]
    size = len(images) if differentiable else FRAMES_AT_ONCE[images.device.type]
    total: tuple[torch.Tensor, ...] = ()
    for i in range(0, len(images), size):
        part = images[i : i + size]
        with nullcontext() if differentiable else autocast(images.device):
            logits = net(part)
        target = torch.full((len(part),), label, device=images.device)
        loss = F.cross_entropy(logits.float(), target, reduction="sum") / len(images)
        new = torch.autograd.grad(loss, weights, create_graph=differentiable)
        total = tuple(a + b for a, b in zip(total, new, strict=True)) if total else new
    return total


def distance(real: Sequence[torch.Tensor], synthetic: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of 1 - cosine over layers and output channels, each a row of [out, in] or [out, in*h*w]. DC distance_wb."""
    total = torch.zeros((), device=real[0].device)
    for a, b in zip(real, synthetic, strict=True):
        rows, others = a.flatten(1), b.flatten(1)
        cosine = (rows * others).sum(1) / (rows.norm(dim=1) * others.norm(dim=1) + EPSILON)
        total = total + (1 - cosine).sum()
    return total


def changed_images(images: torch.Tensor, change: Change | None) -> torch.Tensor:
    """`augment.changed` of images [n, C, H, W]."""
    return images if change is None else changed(images[:, :, None], change)[:, :, 0]


def to_images(frames: torch.Tensor, spec: DatasetSpec, device: torch.device) -> torch.Tensor:
    """[n, H, W, C] on the 0-255 scale -> normalised [n, C, H, W], contiguous because instance norm on channels_last is slow."""
    return to_input(frames[:, None], spec, device)[:, :, 0].contiguous()


# --- learning ---------------------------------------------------------------------------------------------------------


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Matching:
    """Starts from random real frames. Raises ValueError if a class has fewer videos than stills."""
    stills = real_stills(train, ipc_of(task, "static_dc"), config, seed, device)
    return Matching(train, stills, config, seed, device)


def real_stills(train: Split, count: int, config: Config, seed: int, device: torch.device) -> Stills:
    """The start: `count` stills per class. Each is a random frame of a random video, or a mean over clips and time."""
    frames, labels = still_start(train, count, np.random.default_rng(seed), config.start_mean_of)
    return Stills(frames, labels, train.spec, device, config.smooth)


class Matching(MemoryLearner):
    """Changes the stills so that they train a fresh network as real frames of their class do."""

    memory: Stills
    memory_knob = "real_per_class"

    def __init__(self, train: Split, memory: Stills, config: Config, seed: int, device: torch.device) -> None:
        self.memory, self.config, self.seed, self.device, self.spec = memory, config, seed, device, train.spec
        self.real = RealFrames(train, balanced(train, config.real_per_class), seed, device)
        self.optimiser = make_optimiser(config.optimiser, memory.parameters, config.rates(), config.momentum)
        count = len(memory.labels) // train.spec.num_classes
        outer, inner = LOOPS[max(known for known in LOOPS if known <= count)]  # 2 as 1
        self.outer, self.inner = config.outer or outer, config.inner or inner

    def step(self, iteration: int) -> torch.Tensor:
        """Returns the mean distance of a class, over the matching steps of the network."""
        rng = stream(self.seed, iteration, 2)
        net = convnet(self.spec, fresh_seed(rng), self.device)
        follow_cosine(self.optimiser, self.config.rates(), iteration, self.config.iterations, self.config.final_lr)
        total = torch.zeros((), device=self.device)
        for outer in range(self.outer):
            frames, _ = self.real.get(iteration * self.outer + outer)
            self.optimiser.zero_grad(set_to_none=True)
            total += self.match(net, frames, stream(self.seed, iteration * self.outer + outer, 4))
            self.optimiser.step()
            if outer + 1 < self.outer:  # no step follows the last one
                self.train_net(net, rng)
        return total / (self.outer * self.spec.num_classes)

    def match(self, net: nn.Module, frames: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """The distance summed over classes, whose gradients it adds to the stills. frames: [n*K, H, W, C], class by class.

        rng: for the changes of DSA.
        """
        total = torch.zeros((), device=self.device)
        batches = frames.chunk(self.spec.num_classes)
        images = self.memory.images()
        mine = images.detach().requires_grad_()
        stills = mine.chunk(self.spec.num_classes)
        for label, (batch, still) in enumerate(zip(batches, stills, strict=True)):  # one class at a time, to save memory
            change = draw(rng, self.spec) if self.config.dsa else None
            real = gradients(net, changed_images(to_images(batch, self.spec, self.device), change), label)
            loss = distance(real, gradients(net, changed_images(still, change), label, differentiable=True))
            loss.backward(inputs=[mine])  # type: ignore[no-untyped-call]
            total += loss.detach()
        images.backward(mine.grad)  # type: ignore[no-untyped-call]
        return total

    def train_net(self, net: nn.Module, rng: np.random.Generator) -> None:
        """Trains the network for `inner` passes over the stills as they are now."""
        sgd = torch.optim.SGD(net.parameters(), lr=self.config.lr_net)
        stills, labels = self.memory.images().detach(), self.memory.labels
        for _ in range(self.inner):
            order = torch.from_numpy(rng.permutation(len(stills))).to(self.device)
            for i in range(0, len(order), self.config.batch_train):
                rows = order[i : i + self.config.batch_train]
                with autocast(self.device):
                    logits = net(stills[rows])
                sgd.zero_grad(set_to_none=True)
                F.cross_entropy(logits.float(), labels[rows]).backward()  # type: ignore[no-untyped-call]
                sgd.step()
