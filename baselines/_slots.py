"""Shared by the static-dynamic versions of all methods: the settings of slots, and the memory with its learned stills.

Static-dynamic disentanglement (arXiv 2312.00362) first learns stills with static_dc, then motions and a hallucinator with the
method itself. This file is not a baseline, because its name begins with _.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vddbench.baselines import static_dc
from vddbench.data.store import Split
from vddbench.distillation.cached_work import Fresh, Work, cost_of, do_once, work_path
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.coresets import ipc_of
from vddbench.distillation.learn import learn
from vddbench.distillation.optimiser import Kind
from vddbench.distillation.static_dynamic import StaticDynamic, check_fits, real_motions
from vddbench.evaluation.hardware import best_precision
from vddbench.evaluation.students import convnet3d
from vddbench.spec import Task

FORMAT = 4  # version of cached stills and of how they are learned; after a change all are learned again


@dataclass(frozen=True)
class Slots:
    """The settings of slots, which a Config has in addition to those of its method."""

    lr: float = 1e-4  # of the motions; each method has its own
    lr_hallucinator: float = 1e-5  # each method has its own
    stills_per_slot: int = 2  # SDD
    dynamics_per_slot: int = 2  # SDD
    hallucinator: str = "default"  # its start: PyTorch's default, as SDD's Conv3DNet; or "identity", ours
    static_iterations: int = 1000  # static_dc
    static_real_per_class: int = 256  # static_dc
    static_optimiser: Kind = "sgd"  # static_dc
    static_lr: float = 0.1  # static_dc
    static_momentum: float = 0.5  # static_dc
    static_final_lr: float = 1.0  # static_dc
    start_mean_of: int = 1  # for the stills, as in static_dc, and for the motions if they start as real ones
    real_motions: bool = False  # the motions start as those of mean real clips; ours: published motions start as noise
    smooth: float = 0.0  # for stills and motions; pixels, see synthetic_clips.Pixels; ours: published is 0

    @property
    def clips_per_slot(self) -> int:
        """Clips that a slot decodes to: every pair of a still and a motion."""
        return self.stills_per_slot * self.dynamics_per_slot

    def rates(self) -> dict[str, float]:
        """The learning rate of each parameter of the memory."""
        hallucinator = dict.fromkeys(("hallucinator.weight", "hallucinator.bias"), self.lr_hallucinator)
        return {"dynamics": self.lr, **hallucinator}

    def statics(self) -> static_dc.Config:
        """The settings that the stills are learned with."""
        return static_dc.Config(
            iterations=self.static_iterations,
            real_per_class=self.static_real_per_class,
            optimiser=self.static_optimiser,
            lr=self.static_lr,
            momentum=self.static_momentum,
            final_lr=self.static_final_lr,
            start_mean_of=self.start_mean_of,
            smooth=self.smooth,
        )


FAST_SLOTS: dict[str, Any] = {  # for every preset fast: static_dc's settings for the stills, and a start from real clips
    "lr_hallucinator": 1e-3,
    "hallucinator": "identity",
    "real_motions": True,
    "static_iterations": 60,
    "static_real_per_class": 8,
    "static_optimiser": "adam",
    "static_lr": 0.001,  # on validation with dm_sdd's lr 0.01: 25.0 %; with 0.003 and 0.03 20.0 %; the start 26.7 %
    "static_momentum": 0.9,
    "static_final_lr": 0.0,
    "start_mean_of": 16,
    "smooth": 2.0,
}


ONE_CLIP_SLOTS: dict[str, Any] = {"stills_per_slot": 1, "dynamics_per_slot": 1}  # a slot decodes to one clip: division ipc


def slots_memory(train: Split, task: Task, method: str, config: Slots, seed: int, device: torch.device) -> StaticDynamic:
    """The memory for these settings. Its stills are learned first if they are not cached.

    Raises ValueError if the slots do not fit the budget, or if a class has fewer videos than stills.
    """
    ipc, per_slot, spec = ipc_of(task, method), config.stills_per_slot, train.spec
    check_fits(spec, task, per_slot, config.dynamics_per_slot)
    fewest = int(np.bincount(train.labels, minlength=spec.num_classes).min())
    if fewest < ipc * per_slot:
        raise CannotServe(
            f"{method} needs {ipc} slots of {per_slot} stills per class, each from another video, and a class of "
            f"{train.dataset} has {fewest}; use a smaller ipc, or fewer stills_per_slot in the method's file"
        )
    work = stills(train, task, ipc * per_slot, config.statics(), seed, device)
    images = work.tensor[:]
    motions = None
    if config.real_motions:
        motions = real_motions(train, ipc, config.dynamics_per_slot, config.start_mean_of, seed)
    memory = StaticDynamic(
        images.reshape(-1, per_slot, *images.shape[1:]),
        config.dynamics_per_slot,
        config.hallucinator,
        spec,
        seed,
        device,
        config.smooth,
        motions,
    )
    memory.cost = cost_of("static", work)
    return memory


def stills(train: Split, task: Task, count: int, config: static_dc.Config, seed: int, device: torch.device) -> Work:
    """`count` stills per class, learned by static_dc, [K*count, C, H, W] normalised float32, class by class.

    They are learned on first use, then cached under `$VDDBENCH_HOME/statics`. An interrupted run keeps its checkpoint there.
    Raises ValueError if a class has fewer videos, or if the cached file is damaged.
    """
    machine = [device.type, best_precision(device, convnet3d)]
    depends_on = [FORMAT, train.digest, train.index["video"].tolist(), asdict(config), count, seed, *machine]
    path = work_path("statics", train.dataset, depends_on)
    checkpoint = path.with_suffix("")

    def make() -> Fresh:
        return _make(train, count, config, seed, device, checkpoint, f"stills for {task} seed {seed} (cached for later)")

    work = do_once(path, "file of stills", make)
    shutil.rmtree(checkpoint, ignore_errors=True)  # not earlier: before the file exists, only the checkpoint has the stills
    return work


def _make(
    train: Split, count: int, config: static_dc.Config, seed: int, device: torch.device, checkpoint: Path, title: str
) -> Fresh:
    matching = static_dc.Matching(train, static_dc.real_stills(train, count, config, seed, device), config, seed, device)
    matching.memory_knob = "static_real_per_class"  # the name of that field in the Config of the calling method
    progress = learn(matching, asdict(config), checkpoint, None, title).progress
    return Fresh(matching.memory.images().detach().cpu(), progress.seconds, progress.clips_read)
