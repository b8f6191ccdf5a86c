"""Optimisers of the learned tensors, their schedules, and the part of their state that a checkpoint keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch

Kind = Literal["sgd", "adam"]


def make_optimiser(
    kind: Kind,
    parameters: Mapping[str, torch.Tensor],
    rates: Mapping[str, float],
    momentum: float,
    own: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """SGD, as published, or Adam, whose step does not depend on the gradient's size.

    rates: the learning rate of each parameter by name. own: momentum of the parameters, by name,
    whose momentum differs from `momentum` (for Adam: beta1).
    """
    assert parameters.keys() == rates.keys(), (list(parameters), list(rates))
    groups: list[dict[str, Any]] = []
    for name, value in parameters.items():
        kept = (own or {}).get(name, momentum)
        averaging = {"momentum": kept} if kind == "sgd" else {"betas": (kept, 0.999)}
        groups.append({"params": [value], "lr": rates[name], "name": name, **averaging})
    return torch.optim.SGD(groups) if kind == "sgd" else torch.optim.Adam(groups)


def cosine(step: int, steps: int, floor: float) -> float:
    """The factor of a learning rate that falls from 1 at step 0 to `floor` at step `steps` and stays there."""
    return floor + (1 - floor) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def follow_cosine(
    optimiser: torch.optim.Optimizer, rates: Mapping[str, float], step: int, steps: int, floor: float | Mapping[str, float]
) -> None:
    """Sets the learning rate of each parameter for this step. It follows from the step, so no checkpoint needs to keep it.

    rates: the rates at step 0 by parameter. floor: the share that they end at, for all parameters or by name.
    """
    for group in optimiser.param_groups:
        name = group["name"]
        group["lr"] = rates[name] * cosine(step, steps, floor if isinstance(floor, float | int) else floor[name])


def saved(
    parameters: Mapping[str, torch.Tensor], optimiser: torch.optim.Optimizer, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Parameters and the optimiser's averages by name, for a checkpoint."""
    tensors = {f"{prefix}{name}": value.detach() for name, value in parameters.items()}
    for i, averages in optimiser.state_dict()["state"].items():
        tensors |= {f"{prefix}optimiser.{i}.{name}": value for name, value in averages.items()}
    return tensors


@torch.no_grad()
def restore(
    state: Mapping[str, torch.Tensor],
    parameters: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
    prefix: str = "",
) -> None:
    """Restores what `saved` returned. Raises KeyError if a parameter is missing."""
    for name, value in parameters.items():
        value.copy_(state[f"{prefix}{name}"])
    averages, values = dict[int, dict[str, torch.Tensor]](), list(parameters.values())
    for key, value in state.items():
        if key.startswith(f"{prefix}optimiser."):
            number, name = key.removeprefix(f"{prefix}optimiser.").split(".")
            # in the parameter's memory layout, as before: PyTorch's fast kernels need that
            kept = value if name == "step" else torch.empty_like(values[int(number)]).copy_(value)
            averages.setdefault(int(number), {})[name] = kept
    optimiser.load_state_dict({**optimiser.state_dict(), "state": averages})
