"""What is learned: synthetic clips in the units students see (normalised), with the payload they are stored as.

A memory gives differentiable clips [N, C, T, H, W]; a matching baseline moves its parameters by their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.data.store import Split
from vddbench.distillation.coresets import parts
from vddbench.evaluation.train import to_input
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.quantise import quantise

AFFINE_BYTES = 24  # a scale and an offset, float32, for 3 channels


class Memory(Protocol):
    """Learned tensors by name, and the clips they decode to."""

    parameters: dict[str, torch.Tensor]
    labels: torch.Tensor  # [N] int64, class by class

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        """[N, C, T, H, W] normalised, differentiable; `rng` is for memories that decode to one of several clips a slot."""

    def exact(self) -> ClipSet:
        """Every clip a student will see, in float, before anything is rounded."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """The payload: quantised."""


def to_stored(normalised: torch.Tensor, spec: DatasetSpec) -> torch.Tensor:
    """[N, C, ...] in normalised units -> [N, ..., C] on the 0-255 scale, on the CPU: the inverse of `to_input`."""
    mean, std = torch.tensor(spec.mean) * 255, torch.tensor(spec.std) * 255
    return normalised.detach().cpu().float().movedim(1, -1) * std + mean


def narrow_labels(labels: torch.Tensor, spec: DatasetSpec) -> torch.Tensor:
    """In the fewest bytes."""
    return labels.cpu().to(torch.uint8 if spec.num_classes <= 256 else torch.int16)


def learnable(value: torch.Tensor) -> torch.Tensor:
    return value.detach().clone(memory_format=torch.preserve_format).requires_grad_()


class Pixels:
    """`ipc` clips a class, value by value. Decoder `pixels`.

    With `smooth` > 0 a clip is its start plus a blurred change (Gaussian of that standard deviation in pixels, in space), and
    what is learned is the change before the blur. The loss is the same; its fine grain, which differs from one network to the
    next, is stepped along less than what all networks agree on.
    """

    def __init__(
        self, clips: torch.Tensor, labels: torch.Tensor, spec: DatasetSpec, device: torch.device, smooth: float = 0.0
    ) -> None:
        """clips: [N, T, H, W, C] on the 0-255 scale, the start."""
        self.spec, self.labels, self.smooth = spec, labels.to(device), smooth
        start = to_input(clips, spec, device)
        self.start = start if smooth else None
        self.parameters = {"clips": learnable(torch.zeros_like(start) if smooth else start)}

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        return self._clips()

    def _clips(self) -> torch.Tensor:
        learned = self.parameters["clips"]
        return learned if self.start is None else self.start + blurred(learned, self.smooth)

    def exact(self) -> ClipSet:
        return ClipSet(clips=to_stored(self._clips(), self.spec), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        clips, labels = self.exact().clips, narrow_labels(self.labels, self.spec)
        if len(labels) * (8 - labels.element_size()) < AFFINE_BYTES:  # of so few clips no scale and offset fit the budget
            clips = clips.clamp(0, 255)
        stored = quantise(clips)
        return {"clips": stored.pop("pixels"), **stored, "labels": labels}


class Stills:
    """`count` stills a class: `Pixels` of one frame. Decoder `still`."""

    def __init__(
        self, frames: torch.Tensor, labels: torch.Tensor, spec: DatasetSpec, device: torch.device, smooth: float = 0.0
    ) -> None:
        """frames: [N, H, W, C] on the 0-255 scale, the start; labels [N], class by class."""
        self.spec, self.labels = spec, labels.to(device)
        self.frames = Pixels(frames[:, None], labels, spec, device, smooth)
        self.parameters = self.frames.parameters

    def images(self) -> torch.Tensor:
        """[N, C, H, W] normalised, differentiable. Contiguous: channels_last instance norm is twice as slow."""
        return self.frames.clips(np.random.default_rng())[:, :, 0].contiguous()

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        return self.images()[:, :, None].expand(-1, -1, self.spec.frames, -1, -1)

    def exact(self) -> ClipSet:
        frames = self.frames.exact().clips[:, 0]
        return ClipSet(clips=frames[:, None].expand(-1, self.spec.frames, -1, -1, -1), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        stored = quantise(self.frames.exact().clips[:, 0])
        return {"frames": stored.pop("pixels"), **stored, "labels": narrow_labels(self.labels, self.spec)}


def blurred(x: torch.Tensor, deviation: float) -> torch.Tensor:
    """[N, C, T, H, W] convolved over H and W with a Gaussian (reflected edges); `deviation` in pixels. Differentiable."""
    reach = min(round(3 * deviation), x.shape[3] - 1, x.shape[4] - 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / deviation) ** 2)
    weights = weights / weights.sum()
    planes = x.movedim(2, 1).reshape(-1, 1, *x.shape[3:])  # every frame and colour by itself
    planes = F.conv2d(F.pad(planes, (reach, reach, 0, 0), mode="reflect"), weights[None, None, None, :])
    planes = F.conv2d(F.pad(planes, (0, 0, reach, reach), mode="reflect"), weights[None, None, :, None])
    return planes.reshape(x.movedim(2, 1).shape).movedim(1, 2)


def real_start(train: Split, ipc: int, rng: np.random.Generator, mean_of: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """([N, T, H, W, C] float32, labels [N]): `ipc` clips a class to begin with, each the mean of `mean_of` random real clips.

    1 is published: real clips as they are. No video is in two means, so a class with few videos gets means of fewer.
    """
    chosen = parts(train, ipc, mean_of, rng)
    means = [train.clips(rows, train.random_starts(rows, rng)).float().mean(0) for rows in chosen]
    return torch.stack(means), torch.from_numpy(train.labels[[rows[0] for rows in chosen]])


# --- optimisers, and what of them a checkpoint needs -----------------------------------------------------------------


def make_optimiser(
    kind: str,
    parameters: Mapping[str, torch.Tensor],
    rates: Mapping[str, float],
    momentum: float,
    own: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """`sgd` as published, or `adam`, whose step does not depend on the gradient's size. `rates`: the lr of each parameter;
    `own`: the momentum of those that have another."""
    assert kind in {"sgd", "adam"}, kind
    assert parameters.keys() == rates.keys(), (list(parameters), list(rates))
    groups: list[dict[str, Any]] = []
    for name, value in parameters.items():
        kept = (own or {}).get(name, momentum)
        averaged = {"momentum": kept} if kind == "sgd" else {"betas": (kept, 0.999)}
        groups.append({"params": [value], "lr": rates[name], "name": name, **averaged})
    return torch.optim.SGD(groups) if kind == "sgd" else torch.optim.Adam(groups)


def cosine(step: int, steps: int, floor: float) -> float:
    """From 1 at step 0 to `floor` at step `steps`: what a learning rate is multiplied by."""
    return floor + (1 - floor) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def follow_cosine(
    optimiser: torch.optim.Optimizer, rates: Mapping[str, float], step: int, steps: int, floor: float | Mapping[str, float]
) -> None:
    """Sets the lr of each parameter for this step: nothing to keep in a checkpoint. floor: of all, or of each by name."""
    for group in optimiser.param_groups:
        name = group["name"]
        group["lr"] = rates[name] * cosine(step, steps, floor if isinstance(floor, float | int) else floor[name])


def saved(
    parameters: Mapping[str, torch.Tensor], optimiser: torch.optim.Optimizer, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Parameters and the optimiser's averages, by name."""
    found = {f"{prefix}{name}": value.detach() for name, value in parameters.items()}
    for i, averages in optimiser.state_dict()["state"].items():
        found |= {f"{prefix}optimiser.{i}.{name}": value for name, value in averages.items()}
    return found


@torch.no_grad()
def restore(
    state: Mapping[str, torch.Tensor],
    parameters: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
    prefix: str = "",
) -> None:
    """What `saved` saved."""
    for name, value in parameters.items():
        value.copy_(state[f"{prefix}{name}"])
    averages: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        if key.startswith(f"{prefix}optimiser."):
            number, name = key.removeprefix(f"{prefix}optimiser.").split(".")
            averages.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": averages})
