"""Expert trajectories for trajectory matching: MiniC3Ds trained on real clips, their weights kept after every epoch.

Each expert is one file under `$VDDBENCH_HOME/experts`, named by everything it follows from, so that methods and runs share it
and an interrupted run keeps those it finished. Weights are one vector of P numbers an epoch, in their order in memory.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vddbench.data.store import Split
from vddbench.distillation.real_clips import RealClips, stream
from vddbench.evaluation.hardware import best_precision, default_micro_batch, exact_fp32, hardware_for
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import BatchGradient, build
from vddbench.spec import ConfigValue
from vddbench.system.cache import cached
from vddbench.system.files import canonical_json
from vddbench.system.home import home
from vddbench.system.progress import Bar, bar

FORMAT = 1  # of a file and of how experts are trained: raising it makes all anew
ORDER = 2  # stream of random numbers: the order of videos (RealClips draws their starts from another one)


@dataclass(frozen=True, kw_only=True)
class Experts:
    """How many, and how each is trained: plain SGD on one random clip of each video an epoch."""

    num: int = 30  # SDD buffer
    epochs: int = 10  # SDD buffer trains 50, of which distill_MTT reads those up to max_start_epoch: the others aren't made
    batch: int = 256  # SDD buffer
    lr: float = 0.01  # SDD buffer
    momentum: float = 0.0  # SDD buffer
    weight_decay: float = 0.0  # SDD buffer


# --- weights as one vector -------------------------------------------------------------------------------------------


def flatten(net: torch.nn.Module) -> torch.Tensor:
    """[P]: all weights, a copy. 3-D convolutions in the order of channels_last_3d, which `views` then gives back as such."""
    parts = [(p.movedim(1, -1) if p.ndim == 5 else p).detach().reshape(-1) for p in net.parameters()]
    return torch.cat(parts)


def views(theta: torch.Tensor, net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The vector [P] as the weights of `net` by name, for `torch.func.functional_call`; differentiable, no copy."""
    named = dict(net.named_parameters())
    parts = torch.split(theta, [p.numel() for p in named.values()])
    return {name: _view(part, p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}


def _view(part: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    return part.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1) if len(shape) == 5 else part.view(shape)


# --- reading ---------------------------------------------------------------------------------------------------------


class Trajectories:
    """The experts' weights on disk; a look reads two epochs of one expert and nothing else."""

    clips_read = 0  # a `Learner.real` that reads no clips: those of the experts are told by `cost`

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises ValueError when a file is damaged."""
        self.waited_seconds = 0.0
        self.weights = []
        seconds, clips_read = 0.0, 0
        for path in paths:
            try:
                file = safe_open(path, "pt")  # maps the file: weights stay on disk
                self.weights.append(file.get_slice("weights"))  # type: ignore[no-untyped-call]
                about: dict[str, str] = file.metadata()  # type: ignore[no-untyped-call]
                seconds, clips_read = seconds + float(about["seconds"]), clips_read + int(about["clips_read"])
            except (SafetensorError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"expert {path} is damaged ({str(error)[:200]}); delete it and run again") from error
        self.cost: dict[str, ConfigValue] = {"expert_seconds": round(seconds, 3), "expert_clips_read": clips_read}

    def __len__(self) -> int:
        return len(self.weights)

    def look(self, expert: int, epoch: int, span: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """([P], [P]): the expert's weights after `epoch` epochs, and after `span` more."""
        started = time.perf_counter()
        found = self.weights[expert][epoch], self.weights[expert][epoch + span]
        self.waited_seconds += time.perf_counter() - started
        return found[0].to(device), found[1].to(device)


def trajectories(split: Split, settings: Experts, device: torch.device) -> Trajectories:
    """The experts of a train split; those not there yet are trained first. Raises ValueError when one diverges."""
    paths = [_path(split, settings, number, device) for number in range(settings.num)]
    missing = sum(not path.exists() for path in paths)
    if missing:
        with bar(f"{missing} experts on {split.dataset} (cached for later)", missing * settings.epochs) as shown:
            for number, path in enumerate(paths):
                cached(path, partial(_made, split, settings, number, device, shown))
    return Trajectories(paths)


def _path(split: Split, settings: Experts, number: int, device: torch.device) -> Path:
    how = {name: value for name, value in asdict(settings).items() if name != "num"}  # more experts: those there stay
    where = [device.type, best_precision(device, convnet3d)]
    what = [FORMAT, split.digest, split.index["video"].tolist(), how, number, where]
    key = hashlib.sha256(canonical_json(what)).hexdigest()[:16]
    return home() / "experts" / f"{split.dataset}-{key}.safetensors"


# --- training --------------------------------------------------------------------------------------------------------


def _made(split: Split, settings: Experts, number: int, device: torch.device, shown: Bar) -> bytes:
    started = time.monotonic()
    weights = torch.stack(list(_epochs(split, settings, number, device, shown)))
    if not weights.isfinite().all():
        raise ValueError(f"expert {number} on {split.dataset} diverged at lr {settings.lr}; lower it, or use --preset fast")
    about = {"seconds": str(time.monotonic() - started), "clips_read": str(settings.epochs * len(split))}
    return save({"weights": weights}, about)


def _epochs(split: Split, settings: Experts, number: int, device: torch.device, shown: Bar) -> Iterator[torch.Tensor]:
    """Weights [P] on the CPU, before training and after each epoch. Dropout is active, precision as in students."""
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
        yield flatten(net).cpu()
        shown.advance(1, f"expert {number + 1} loss {total.item() / steps:.3f}")


def _order(num_videos: int, batch: int, number: int) -> Iterator[np.ndarray]:
    """Rows of each batch: every epoch in another order."""
    for epoch in count():
        rows = stream(number, epoch, ORDER).permutation(num_videos)
        for i in range(0, num_videos, batch):
            yield rows[i : i + batch]
