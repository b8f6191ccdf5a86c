"""MTT: synthetic clips on which a few SGD steps lead where an epoch on real clips led an expert.

Trajectory matching (arXiv 2203.11932) on clips as in SDD (2312.00362): each iteration takes an expert (a MiniC3D trained on the
real clips) and one of its first epochs; a student starts at the expert's weights theta*_t and takes N steps of plain SGD on the
synthetic clips, with a learned lr; loss = ||theta_N - theta*_{t+1}||^2 / ||theta*_t - theta*_{t+1}||^2.

The gradient is that of autograd through all N steps, in the memory of one step (see `matched`). Students run without dropout
(MTT leaves it on), so the same clips give the same steps and the gradient has less noise. Experts train with dropout.

10 clips of 8x64x64 on one core of a busy AMD EPYC (avx512_bf16): one inner step 0.62 s in fp32, 0.34 s in bf16;
going back through one 2.4 s and 1.3 s (forward over reverse: 2.8 s and 1.5 s). The cosine of the clips' gradient in bf16 with
that in fp32, at two epochs of an expert on 10-class avletters: 0.993 and 0.996 after 5 steps, 0.987 and 0.989 after one.

Protocol v3, preset fast on movingshapes, ipc 1: 21.2 % (3 students of one set), `random` 23.2; the experts of this preset
do not suit that dataset, see docs/baselines.md. Published on MiniUCF ipc 1: 19.0 +- 0.1.

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 25.3 % (3 students of one set, bf16 on one thread of an Intel
Xeon), significantly above `random` (12.3), not above `mean` (26.7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.data.store import Split
from vddbench.distillation.contract import About, Distilled
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.experts import Experts, trajectories, views
from vddbench.distillation.features import autocast, random_net
from vddbench.distillation.optimiser import Kind, follow_cosine, make_optimiser, restore, saved
from vddbench.distillation.real_clips import stream
from vddbench.distillation.synthetic_clips import Memory, MemoryLearner, Pixels, learnable, real_start
from vddbench.distillation.unrolled_sgd import matched
from vddbench.spec import Task

DECODER = "pixels"
PAPER = "https://arxiv.org/abs/2203.11932"
ABOUT = About(family="trajectory matching", reads=("experts",))


@dataclass(frozen=True)
class Config:
    iterations: int = 8000  # SDD distill_MTT
    inner_steps: int = 10  # N at ipc 1; SDD
    inner_batch: int = 256  # clips per inner step; MTT: all clips at MiniUCF's ipc 1 and 5
    optimiser: Kind = "sgd"  # MTT
    lr: float = 1e5  # SDD, ipc 1
    momentum: float = 0.5  # MTT
    student_lr: float = 0.01  # start of the learned lr; SDD
    student_lr_min: float = 0.001  # lower bound of the learned lr; SDD
    lr_of_student_lr: float = 1e-5  # SDD
    student_lr_momentum: float = 0.5  # MTT
    min_start_epoch: int = 0  # MTT; a later one skips epochs in which experts do not learn yet
    max_start_epoch: int = 10  # students start at an epoch below this; SDD
    first_max_start_epoch: int = 0  # below this in the first iteration; 0: as in all others (MTT); DATM (2310.05773) grows it
    window_iterations: int = 0  # in which it grows to max_start_epoch
    expert_span: int = 1  # epochs of the expert that a student's N steps should match; SDD
    num_experts: int = 30  # SDD buffer
    expert_batch: int = 256  # SDD buffer
    expert_lr: float = 0.01  # SDD buffer
    expert_momentum: float = 0.0  # SDD buffer
    expert_weight_decay: float = 0.0  # SDD buffer
    final_lr: float = 1.0  # share of both rates that a cosine ends at; 1: constant, as published
    start_mean_of: int = 1  # real clips averaged into each clip it starts from; published: one
    smooth: float = 0.0  # pixels, see synthetic_clips.Pixels; ours: published is 0

    def rates(self) -> dict[str, float]:
        """The learning rate of each parameter of the memory."""
        return {"clips": self.lr}

    def momenta(self) -> dict[str, float]:
        """The momentum of the parameters that have one of their own."""
        return {"student_lr": self.student_lr_momentum}

    def start_below(self, iteration: int) -> int:
        """The bound of the epochs that students start at in an iteration."""
        if not self.first_max_start_epoch or iteration >= self.window_iterations:
            return self.max_start_epoch
        grown = (self.max_start_epoch - self.first_max_start_epoch) * iteration // self.window_iterations
        return self.first_max_start_epoch + grown

    def experts(self) -> Experts:
        return Experts(
            num=self.num_experts,
            epochs=self.max_start_epoch - 1 + self.expert_span,
            batch=self.expert_batch,
            lr=self.expert_lr,
            momentum=self.expert_momentum,
            weight_decay=self.expert_weight_decay,
        )


CONFIGS = {"miniucf-ipc5": Config(inner_steps=5)}  # as SDD on static-dynamic memories; its MTT.sh has 10 at every ipc
PRESETS = {
    "fast": Config(  # under a hundredth of the iterations, half the inner steps, 3 experts, not 30; for about 200 train videos
        iterations=60,
        inner_steps=5,
        optimiser="adam",  # its steps don't depend on the gradient's size
        lr=0.005,
        momentum=0.9,
        final_lr=0.0,
        start_mean_of=16,
        smooth=2.0,
        student_lr=0.03,  # loss before learning at epochs 9 and 14: 0.87, 0.97; at 0.1 0.78, 1.21; at 0.01 0.95, 0.99
        lr_of_student_lr=3e-4,  # Adam's
        student_lr_momentum=0.9,
        min_start_epoch=6,  # loss of experts on 10-class avletters: 2.30 (chance) for 8 epochs, 2.00 after 17
        max_start_epoch=16,
        num_experts=3,
        expert_batch=32,  # 200 clips in batches of 256 would make one small step per epoch
        expert_lr=0.05,
        expert_momentum=0.9,
    ),
    "smoke": Config(iterations=2, inner_steps=1, max_start_epoch=1, num_experts=1, expert_batch=16),
}


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Matching:
    """Starts from random real clips, or from means of them."""
    clips, labels = real_start(train, ipc_of(task, "mtt"), np.random.default_rng(seed), config.start_mean_of)
    return Matching(train, Pixels(clips, labels, train.spec, device, config.smooth), config, seed, device)


class Drawn(NamedTuple):
    """clips [N, C, T, H, W], labels [N] or distributions [N, K], and the rows that each inner step takes (None: all)."""

    clips: torch.Tensor
    labels: torch.Tensor
    batches: list[torch.Tensor | None]


class Matching(MemoryLearner):
    """Changes the clips, and the learning rate of students on them, so that students follow the experts."""

    memory_knob = "inner_batch"

    def __init__(
        self,
        train: Split,
        memory: Memory,
        config: Config,
        seed: int,
        device: torch.device,
        targets: Callable[[], torch.Tensor] | None = None,
    ) -> None:
        """Trains the experts that are not cached. targets: function that returns learned labels [N, K]; None: fixed labels."""
        self.memory, self.config, self.seed, self.device = memory, config, seed, device
        self.real = trajectories(train, config.experts(), device)
        self.net = random_net(train.spec, 0, device).eval()  # defines the layers; each inner step has its own weights
        self.student_lr = learnable(torch.tensor(config.student_lr, device=device))
        self.parameters = {**memory.parameters, "student_lr": self.student_lr}
        self.rates = {**config.rates(), "student_lr": config.lr_of_student_lr}
        self.optimiser = make_optimiser(config.optimiser, self.parameters, self.rates, config.momentum, config.momenta())
        self.targets = targets or (lambda: memory.labels)

    def step(self, iteration: int) -> torch.Tensor:
        rng = stream(self.seed, iteration, 2)
        config = self.config
        expert = int(rng.integers(len(self.real)))
        epoch = int(rng.integers(config.min_start_epoch, config.start_below(iteration)))
        start, target = self.real.start_and_target(expert, epoch, config.expert_span, self.device)
        drawn = self.draw(rng)
        clips, labels, student_lr = drawn.clips, drawn.labels, self.student_lr.detach()
        result = matched(self._loss, start, target, clips.detach(), labels.detach(), student_lr, drawn.batches)
        self.set_rates(iteration)
        self.optimiser.zero_grad(set_to_none=True)
        clips.backward(result.clips_gradient)  # type: ignore[no-untyped-call]
        if labels.requires_grad:
            labels.backward(result.labels_gradient)  # type: ignore[no-untyped-call]
        self.student_lr.grad = result.lr_gradient
        self.optimiser.step()
        with torch.no_grad():
            self.student_lr.clamp_(min=config.student_lr_min)
        return result.loss

    def set_rates(self, iteration: int) -> None:
        """Sets the learning rates of an iteration."""
        follow_cosine(self.optimiser, self.rates, iteration, self.config.iterations, self.config.final_lr)

    def draw(self, rng: np.random.Generator) -> Drawn:
        """The clips of an iteration, and which of them each inner step takes."""
        clips, labels = self.memory.clips(rng), self.targets()
        if len(labels) <= self.config.inner_batch:
            return Drawn(clips, labels, [None] * self.config.inner_steps)
        batches = passes(rng, len(labels), self.config.inner_batch, self.config.inner_steps)
        return Drawn(clips, labels, [torch.from_numpy(rows).to(self.device) for rows in batches])

    def _loss(self, theta: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with autocast(self.device):
            logits = functional_call(self.net, views(theta, self.net), (x,))
        return F.cross_entropy(logits.float(), labels)

    def distilled(self) -> Distilled:
        """The learned lr is only in the manifest, because the protocol trains every student with the student's own lr."""
        chosen = {"learned_lr": float(self.student_lr.detach()), **self.real.cost, **self.memory.cost}
        return Distilled(tensors=self.memory.tensors(), chosen=chosen)

    def state(self) -> dict[str, torch.Tensor]:
        return saved(self.parameters, self.optimiser)

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        restore(state, self.parameters, self.optimiser)


def passes(rng: np.random.Generator, count: int, batch: int, steps: int) -> list[np.ndarray]:
    """The rows below `count` that each step takes: shuffled passes in parts of `batch`, the last of a pass smaller (MTT)."""
    parts: list[np.ndarray] = []
    while len(parts) < steps:
        parts += np.split(rng.permutation(count), range(batch, count, batch))
    return parts[:steps]
