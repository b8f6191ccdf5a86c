"""Expert trajectories for trajectory matching: MiniC3Ds trained on real clips, with their weights after every epoch.

Each expert is one cached file under `$VDDBENCH_HOME/experts`, so methods and runs share them, and an interrupted run keeps
the experts that it finished. The weights after an epoch are one vector of P numbers, in their order in memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.cached_work import Fresh, cost_of, do_once, read_work, work_path
from vddbench.distillation.real_clips import RealClips, stream
from vddbench.distillation.remedies import enough_memory
from vddbench.evaluation.hardware import best_precision, default_micro_batch, exact_fp32, hardware_for
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import BatchGradient, build
from vddbench.system.progress import Bar, bar, say

FORMAT = 2  # version of the cached file and of the training of experts; after a change all experts are trained again
HALVINGS = 3  # of the lr of an expert that diverges; ours: a lr that suits one dataset is too high for another
ORDER = 2  # number of the random stream that orders the videos; RealClips uses another one for the starts of clips


@dataclass(frozen=True, kw_only=True)
class Experts:
    """How many experts there are and how each is trained: plain SGD on one random clip of each video per epoch."""

    num: int = 30  # SDD buffer
    epochs: int = 10  # SDD buffer trains 50, but distill_MTT reads none after max_start_epoch
    batch: int = 256  # SDD buffer
    lr: float = 0.01  # SDD buffer
    momentum: float = 0.0  # SDD buffer
    weight_decay: float = 0.0  # SDD buffer


# --- weights as one vector -------------------------------------------------------------------------------------------


def flatten(net: torch.nn.Module) -> torch.Tensor:
    """A copy of all weights as one vector [P], 3-D convolutions in the order of channels_last_3d, which `views` restores."""
    parts = [(p.movedim(1, -1) if p.ndim == 5 else p).detach().reshape(-1) for p in net.parameters()]
    return torch.cat(parts)


def views(theta: torch.Tensor, net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The vector [P] as the weights of `net` by name, for `torch.func.functional_call`. Differentiable; nothing is copied."""
    named = dict(net.named_parameters())
    parts = torch.split(theta, [p.numel() for p in named.values()])
    return {name: _view(part, p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}


def _view(part: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    return part.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1) if len(shape) == 5 else part.view(shape)


# --- reading ---------------------------------------------------------------------------------------------------------


class Trajectories:
    """The experts' weights on disk. Reading one start and one target reads two epochs of one expert and nothing else."""

    clips_read = 0  # as RealData of a learner: reads no clips itself; those of the experts are in `cost`

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises ValueError if a file is damaged or of another store."""
        self.experts = [read_work(path, "expert") for path in paths]
        self.waited_seconds = 0.0
        self.cost = cost_of("expert", *self.experts)

    def __len__(self) -> int:
        return len(self.experts)

    def start_and_target(self, expert: int, epoch: int, span: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """([P], [P]): the expert's weights after `epoch` epochs, and after `span` more."""
        started = time.perf_counter()
        weights = self.experts[expert].tensor
        start, target = weights[epoch], weights[epoch + span]
        self.waited_seconds += time.perf_counter() - started
        return start.to(device), target.to(device)


def trajectories(split: Split, settings: Experts, device: torch.device) -> Trajectories:
    """The experts of a train split. Trains those that are not cached.

    Raises ValueError if one diverges at each lr, or if memory runs out.
    """
    paths = [_path(split, settings, number, device) for number in range(settings.num)]
    missing = sum(not path.exists() for path in paths)
    if missing:
        title = f"{missing} experts on {split.dataset} (cached for later)"
        with bar(title, missing * settings.epochs) as progress, enough_memory("while experts trained", "expert_batch"):
            for number, path in enumerate(paths):
                do_once(path, "expert", partial(_make, split, settings, number, device, progress))
    return Trajectories(paths)


def _path(split: Split, settings: Experts, number: int, device: torch.device) -> Path:
    # `num` is left out, so that a run with more experts reuses the first ones.
    training = {name: value for name, value in asdict(settings).items() if name != "num"}
    machine = [device.type, best_precision(device, convnet3d)]
    return work_path("experts", split.dataset, [FORMAT, split.digest, split.index["video"].tolist(), training, number, machine])


# --- training --------------------------------------------------------------------------------------------------------


def _make(split: Split, settings: Experts, number: int, device: torch.device, progress: Bar) -> Fresh:
    """An expert's weights by epoch. One that diverges is trained again at half the lr, at most HALVINGS times."""
    started = time.monotonic()
    epochs = 0  # of all tries: the cost
    for halvings in range(HALVINGS + 1):
        lr = settings.lr / 2**halvings
        kept: list[torch.Tensor] = []
        for weights in _weights_by_epoch(split, replace(settings, lr=lr), number, device, progress):
            kept.append(weights)
            if not weights.isfinite().all():
                break
        else:
            epochs += settings.epochs
            return Fresh(torch.stack(kept), time.monotonic() - started, epochs * len(split))
        failed = len(kept) - 1
        epochs += failed
        progress.advance(-failed)
        say(f"expert {number} on {split.dataset} diverged in epoch {failed} at lr {lr:g}", style="yellow")
    raise ValueError(
        f"expert {number} on {split.dataset} diverged at lr {lr:g}, too; lower expert_lr ({settings.lr:g}) in the method's file"
    )


def _weights_by_epoch(
    split: Split, settings: Experts, number: int, device: torch.device, progress: Bar
) -> Iterator[torch.Tensor]:
    """Weights [P] on the CPU, before training and after each epoch. Trained with dropout, in the precision of students."""
    net = build(convnet3d, split.spec, number, device).train()
    sgd = torch.optim.SGD(net.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    order = _order(len(split), settings.batch, number)
    real = RealClips(split, lambda _: next(order), number, device)
    hardware = hardware_for(convnet3d, device)
    gradient = BatchGradient(net, split.spec, hardware, default_micro_batch(net, settings.batch, hardware))
    steps = -(-len(split) // settings.batch)  # an epoch; its last batch may be smaller
    yield flatten(net).cpu()
    for epoch in range(settings.epochs):
        total = torch.zeros((), device=device)
        for step in range(steps):
            clips, labels = real.get(epoch * steps + step)
            with exact_fp32():
                loss = gradient(clips, labels)
            sgd.step()
            total += loss
        progress.advance(1, f"expert {number + 1} loss {total.item() / steps:.3f}")  # first, because the caller may stop here
        yield flatten(net).cpu()


def _order(num_videos: int, batch: int, number: int) -> Iterator[np.ndarray]:
    """Rows [batch] of train videos for each step, in a new order every epoch. Never ends."""
    for epoch in count():
        rows = stream(number, epoch, ORDER).permutation(num_videos)
        for i in range(0, num_videos, batch):
            yield rows[i : i + batch]
