"""FRePo: synthetic clips from which kernel ridge regression on features of trained networks predicts labels of real clips.

Neural feature regression with pooling (arXiv 2206.00719) on clips as in SDD (2312.00362). Each iteration takes one network from
a pool and predicts a batch of real clips from the synthetic ones, K_ts (K_ss + ridge tr(K_ss)/n I)^-1 y with K = embed embed^T;
the pixels follow the gradient of the squared error, then that network takes one step on the synthetic clips. After
`net_updates` steps a network is replaced by a fresh one; networks start at staggered ages. Labels are fixed, centred one-hot.

With `frozen` (presets frozen, fast_frozen) networks are never trained: each iteration draws `pool` fresh ones and joins their
features, as RFAD does (arXiv 2210.12067). Left out: RFAD's wide networks without normalisation, its learned whitening, Platt
scaling, and optimiser.

The cosine of the clips' gradient in bf16 with that in fp32, on 10-class avletters with 64 real clips: 0.961 to 0.972 (3
iterations).

Published on MiniUCF ipc 1: 20.3 +- 0.5, with learned labels.

Protocol v3, preset fast on movingshapes, ipc 1: 20.8 % (3 students of one set, bf16 on one thread of an Intel Xeon), `random`
23.2.

Protocol v3, preset fast on 10 classes of avletters, ipc 1: 30.7 % (3 students of one set, bf16 on one thread of an Intel
Xeon), significantly above `random` (12.3), not above `mean` (26.7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from vddbench.data.store import Split
from vddbench.distillation.contract import About
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.features import autocast, embed, features, fresh_seed, random_net
from vddbench.distillation.optimiser import cosine, follow_cosine, make_optimiser, restore, saved
from vddbench.distillation.real_clips import RealClips, stream, uniform
from vddbench.distillation.synthetic_clips import Memory, MemoryLearner, Pixels, real_start
from vddbench.evaluation.students.convnet3d import ConvNet3D
from vddbench.spec import DatasetSpec, Task

DECODER = "pixels"
PAPER = "https://arxiv.org/abs/2206.00719"
ABOUT = About(family="kernel regression")
NET_FLOOR = 0.01  # share of net_lr that warm-up begins with and the cosine ends at; FRePo's PyTorch code, SDD distill_s2d


@dataclass(frozen=True)
class Config:
    iterations: int = 10_000  # SDD distill_s2d; FRePo 500,000 on images
    real_batch: int = 512  # real clips per iteration; SDD distill_s2d
    pool: int = 10  # networks; FRePo
    net_updates: int = 100  # steps after which a network is replaced; FRePo
    net_batch: int = 500  # synthetic clips per step of a network; FRePo
    net_lr: float = 1e-4  # Adam; SDD run_s2d.sh (FRePo 3e-4)
    net_warmup: int = 500  # steps of linear warm-up, so 100 updates are a fifth of it; FRePo's PyTorch code, SDD
    ridge: float = 1e-6  # share of the mean eigenvalue; FRePo
    lr: float = 1e-3  # FRePo's PyTorch code, Adam on images (its JAX code: LAMB, 3e-4); for clips none is published
    momentum: float = 0.9  # Adam's beta1; PyTorch's default, as in FRePo's PyTorch code
    final_lr: float = 0.1  # share of lr that the cosine ends at; FRePo
    micro_batch: int = 128  # synthetic clips through a network at a time; ours; only dropout's masks depend on it
    frozen: bool = False  # a pool of untrained networks, all of them in each iteration: RFAD
    start_mean_of: int = 1  # real clips averaged into each clip it starts from; published: one
    smooth: float = 0.0  # pixels, see synthetic_clips.Pixels; ours: published is 0

    def rates(self) -> dict[str, float]:
        """The learning rate of each parameter of the memory."""
        return {"clips": self.lr}

    def floors(self) -> dict[str, float]:
        """The share of each parameter's rate that its cosine ends at."""
        return dict.fromkeys(self.rates(), self.final_lr)


PRESETS = {
    "fast": Config(  # 1 % of the iterations, an eighth of the real batch, a pool of 4; so few steps must be larger
        iterations=120,
        real_batch=64,
        pool=4,
        lr=0.01,  # validation, 10-class avletters: 25.0 %; 0.003: 16.7 %; the start: 17.5 % (3 students, 40 videos)
        start_mean_of=16,
        smooth=2.0,
    ),
    "smoke": Config(iterations=2, real_batch=8, pool=2, net_updates=2, lr=0.03),
    "frozen": Config(frozen=True, pool=8, real_batch=5120, ridge=5e-3, final_lr=1.0),  # RFAD's code, as is lr
}
PRESETS["fast_frozen"] = replace(PRESETS["fast"], frozen=True, ridge=5e-3)


def learner(train: Split, task: Task, config: Config, seed: int, device: torch.device) -> Matching:
    """Starts from random real clips, or from means of them."""
    clips, labels = real_start(train, ipc_of(task, "frepo"), np.random.default_rng(seed), config.start_mean_of)
    return Matching(train, Pixels(clips, labels, train.spec, device, config.smooth), config, seed, device)


class Matching(MemoryLearner):
    """Changes the clips so that regression on them predicts the labels of real clips."""

    memory_knob = "micro_batch"

    def __init__(
        self,
        train: Split,
        memory: Memory,
        config: Config,
        seed: int,
        device: torch.device,
        targets: Callable[[], torch.Tensor] | None = None,
    ) -> None:
        """targets: function that returns regression targets [N, K] of learned labels; None: fixed `memory.labels`."""
        self.memory, self.config, self.seed, self.device, self.spec = memory, config, seed, device, train.spec
        self.real = RealClips(train, uniform(train, config.real_batch), seed, device)
        self.optimiser = make_optimiser("adam", memory.parameters, config.rates(), config.momentum)
        fixed = scaled(one_hot(memory.labels, self.spec.num_classes))
        self.targets = targets or (lambda: fixed)
        stagger = config.net_updates // config.pool
        self.pool = [
            PoolNet(self.spec, fresh_seed(stream(seed, i, 3)), device, config, config.net_updates - stagger * i)
            for i in range(0 if config.frozen else config.pool)
        ]

    def step(self, iteration: int) -> torch.Tensor:
        rng = stream(self.seed, iteration, 2)
        if self.config.frozen:
            nets = [random_net(self.spec, fresh_seed(rng), self.device).eval() for _ in range(self.config.pool)]
            return self._learn(nets, iteration, rng)
        chosen = int(rng.integers(len(self.pool)))
        pooled = self.pool[chosen]
        loss = self._learn([pooled.net], iteration, rng)
        with torch.no_grad():
            clips, targets = self.memory.clips(rng), self.targets()
        pooled.update(clips.detach(), targets, rng)  # the clips may be the parameter itself
        if pooled.updates >= pooled.last_update:
            self.pool[chosen] = PoolNet(self.spec, fresh_seed(rng), self.device, self.config, self.config.net_updates)
        return loss

    def _learn(self, nets: Sequence[ConvNet3D], iteration: int, rng: np.random.Generator) -> torch.Tensor:
        """One step of the memory. Returns the loss before it, detached."""
        loss = self._loss(nets, iteration, rng)
        follow_cosine(self.optimiser, self.config.rates(), iteration, self.config.iterations, self.config.floors())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach().float()

    def _loss(self, nets: Sequence[ConvNet3D], iteration: int, rng: np.random.Generator) -> torch.Tensor:
        """The error of predicting the iteration's real clips, plus the margin of the labels if they are learned.

        The features of several networks are joined, so that their kernels add up.
        """
        real, labels = self.real.get(iteration)
        clips = self.memory.clips(rng)
        target = torch.cat([features(net, real, self.spec, self.device) for net in nets], 1)
        support = torch.cat([embed_in_parts(net, clips, self.config.micro_batch, self.device) for net in nets], 1)
        targets = self.targets()
        predicted = ridge_prediction(target, support, targets, self.config.ridge)
        loss = squared_error(predicted, centred(one_hot(labels, self.spec.num_classes)))
        return loss + margin(targets).mean() if targets.requires_grad else loss

    def state(self) -> dict[str, torch.Tensor]:
        tensors = saved(self.memory.parameters, self.optimiser, "memory.")
        for i, pooled in enumerate(self.pool):
            tensors |= pooled.state(f"pool.{i}.")
        return tensors

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        restore(state, self.memory.parameters, self.optimiser, "memory.")
        for i, pooled in enumerate(self.pool):
            pooled.restore(state, f"pool.{i}.")


class PoolNet:
    """A network of the pool, which is being trained on the synthetic clips. It is replaced after `last_update` updates."""

    def __init__(self, spec: DatasetSpec, seed: int, device: torch.device, config: Config, last_update: int) -> None:
        self.net = random_net(spec, seed, device).eval()
        self.config, self.device, self.updates, self.last_update = config, device, 0, last_update
        self.parameters = dict(self.net.named_parameters())
        self.optimiser = make_optimiser("adam", self.parameters, dict.fromkeys(self.parameters, config.net_lr), 0.9)

    def update(self, clips: torch.Tensor, targets: torch.Tensor, rng: np.random.Generator) -> None:
        """One step, with dropout, on at most `net_batch` of the clips [N, C, T, H, W], for their targets [N, K]."""
        if len(clips) > self.config.net_batch:
            rows = torch.from_numpy(rng.choice(len(clips), self.config.net_batch, replace=False)).to(self.device)
            clips, targets = clips[rows], targets[rows]
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.net_lr * net_schedule(self.updates, self.config)
        torch.manual_seed(fresh_seed(rng))  # for dropout
        self.net.requires_grad_(True).train()
        self.optimiser.zero_grad(set_to_none=True)
        size = self.config.micro_batch
        for part, target in zip(torch.split(clips, size), torch.split(targets, size), strict=True):
            with autocast(self.device):
                logits = self.net(part)
            loss = squared_error(logits.float(), target) * (len(part) / len(clips))
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.net.requires_grad_(False).eval()
        self.updates += 1

    def state(self, prefix: str) -> dict[str, torch.Tensor]:
        counts = torch.tensor([self.updates, self.last_update])
        return {f"{prefix}counts": counts, **saved(self.parameters, self.optimiser, f"{prefix}net.")}

    def restore(self, state: Mapping[str, torch.Tensor], prefix: str) -> None:
        self.updates, self.last_update = (int(count) for count in state[f"{prefix}counts"])
        restore(state, self.parameters, self.optimiser, f"{prefix}net.")


# --- the regression --------------------------------------------------------------------------------------------------


def ridge_prediction(target: torch.Tensor, support: torch.Tensor, y: torch.Tensor, ridge: float) -> torch.Tensor:
    """Kernel ridge regression from `support` [n, D] with labels y [n, K] at `target` [m, D] -> [m, K] float64.

    Computed in float64, because K_ss is singular if n > D, and float32 then cannot resolve a ridge of 1e-6. If K_ss is singular
    even so, the predictions are infinite or NaN. There is no error, because raising one would mean waiting for the GPU.
    """
    s, t = support.double(), target.double()
    kernel = s @ s.T
    kernel = kernel + ridge * kernel.trace() / len(s) * torch.eye(len(s), dtype=s.dtype, device=s.device)
    weights: torch.Tensor = torch.linalg.solve_ex(kernel, y.double()).result
    return (t @ s.T) @ weights


def one_hot(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """[N] -> [N, K] float32."""
    return torch.nn.functional.one_hot(labels, num_classes).float()


def centred(distributions: torch.Tensor) -> torch.Tensor:
    """[N, K] rows that sum to 1 -> rows that sum to 0."""
    return distributions - 1 / distributions.shape[1]


def scaled(distributions: torch.Tensor) -> torch.Tensor:
    """Targets of the synthetic clips: centred and, unlike those of real clips, divided by sqrt(K / 10) (FRePo's code)."""
    return centred(distributions) / math.sqrt(distributions.shape[1] / 10)


def squared_error(predicted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Half the squared distance of each row, then the mean over rows (FRePo's code)."""
    return 0.5 * (predicted - targets).square().sum(1).mean()


def margin(targets: torch.Tensor) -> torch.Tensor:
    """[N, K] -> [N]: minus the lead of each row's largest value, capped at 1/K (FRePo's code), so labels keep one winner."""
    first, second = targets.topk(2, dim=1).values.unbind(1)
    return -(first - second).clamp(max=1 / targets.shape[1])


def embed_in_parts(net: ConvNet3D, clips: torch.Tensor, size: int, device: torch.device) -> torch.Tensor:
    """`embed`, `size` clips at a time. The backward pass computes each part again instead of keeping its activations."""
    if len(clips) <= size:
        return embed(net, clips, device)
    parts = [
        checkpoint(embed, net, part, device, use_reentrant=False, preserve_rng_state=False) for part in torch.split(clips, size)
    ]
    return torch.cat(parts)


def net_schedule(update: int, config: Config) -> float:
    """Linear warm-up times cosine, both over a network's own updates."""
    warmed = min(update / config.net_warmup, 1) if config.net_warmup else 1
    return (NET_FLOOR + (1 - NET_FLOOR) * warmed) * cosine(update, config.net_updates, NET_FLOOR)
