"""What a file in baselines/ must have, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from vddbench.spec import ClipSet, ConfigValue, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vddbench.data.store import Split


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """What a baseline makes: the tensors its decoder reads, and what it chose on validation videos, for the manifest."""

    tensors: dict[str, torch.Tensor]
    chosen: dict[str, ConfigValue] = field(default_factory=dict)


class Reads(Protocol):
    """Where a learner's real data comes from, and what reading it cost."""

    clips_read: int
    waited_seconds: float  # that a step stood still for data


class Learner(Protocol):
    """What an iterative baseline learns. All randomness of `step(i)` follows from the seed and i, so resuming is exact."""

    @property
    def real(self) -> Reads: ...

    memory_knob: str  # the Config field to lower when memory runs out

    def step(self, iteration: int) -> torch.Tensor:
        """One update; returns the scalar loss before it, detached."""

    def exact(self) -> ClipSet:
        """The clips learned so far, in float: what the payload would decode to if nothing were rounded."""

    def distilled(self) -> Distilled:
        """The payload learned so far."""

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that steps change."""

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes back what `state` gave."""


class BaselineModule(Protocol):
    """A file in baselines/. Gets the train split and nothing else.

    `Config()` is as published; `CONFIGS` has other values by task, `PRESETS` by name. A baseline of many iterations has
    `learner(train, task, config, seed, device) -> Learner` in place of `distill`, and `iterations` in its Config.
    """

    DECODER: str
    PAPER: str
    Config: type[Any]

    def distill(self, train: Split, task: Task, config: Any, rng: np.random.Generator) -> Distilled: ...
