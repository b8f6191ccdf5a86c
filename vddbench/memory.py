"""What is learned: synthetic clips in the units students see (normalised), with the payload they are stored as.

A memory gives differentiable clips [N, C, T, H, W]; a matching baseline moves its parameters by their gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch

from vddbench.choose import per_class
from vddbench.quantise import quantise
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.store import Split
from vddbench.train import to_input


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
    """`ipc` clips a class, value by value. Decoder `pixels`."""

    def __init__(self, clips: torch.Tensor, labels: torch.Tensor, spec: DatasetSpec, device: torch.device) -> None:
        """clips: [N, T, H, W, C] on the 0-255 scale, the start."""
        self.spec, self.labels = spec, labels.to(device)
        self.parameters = {"clips": learnable(to_input(clips, spec, device))}

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        return self.parameters["clips"]

    def exact(self) -> ClipSet:
        return ClipSet(clips=to_stored(self.parameters["clips"], self.spec), labels=self.labels.cpu())

    def tensors(self) -> dict[str, torch.Tensor]:
        stored = quantise(self.exact().clips, torch.uint8, [])
        return {"clips": stored.pop("pixels"), **stored, "labels": narrow_labels(self.labels, self.spec)}


def real_start(train: Split, ipc: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(`ipc` random real clips a class [N, T, H, W, C] uint8, labels [N]): where learning begins."""
    rows = per_class(train, ipc, lambda rows: rng.choice(rows, ipc, replace=False))
    return train.clips(rows, train.random_starts(rows, rng)), torch.from_numpy(train.labels[rows])


# --- optimisers, and what of them a checkpoint needs -----------------------------------------------------------------


def make_optimiser(
    kind: str, parameters: Mapping[str, torch.Tensor], rates: Mapping[str, float], momentum: float
) -> torch.optim.Optimizer:
    """`sgd` as published, or `adam`, whose step does not depend on the gradient's size. `rates`: the lr of each parameter."""
    assert parameters.keys() == rates.keys(), (list(parameters), list(rates))
    groups = [{"params": [value], "lr": rates[name]} for name, value in parameters.items()]
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=momentum)
    assert kind == "adam", kind
    return torch.optim.Adam(groups, betas=(momentum, 0.999))


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
