"""The contract of a file in baselines/: what it must have and return. mypy checks every file against one of two contracts.

BaselineModule: `distill` makes the set in one call. IterativeBaselineModule: `learner` returns an object that takes one step at
a time, so that vddbench can save, resume and watch it. A file that lacks a part is refused with the name of that part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from vddbench.spec import ClipSet, ConfigValue, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vddbench.data.store import Split


class CannotServe(ValueError):
    """A method cannot serve a task: the budget is too small, say, or a class has too few videos.

    Every other error means that something is damaged, missing or wrong. `vddbench grid` leaves out only sets that end with this
    one, and fails for the others.
    """


Family = Literal[
    "reference",
    "coreset",
    "selection",
    "gradient matching",
    "distribution matching",
    "trajectory matching",
    "kernel regression",
    "uni-level",
]
Reading = Literal["teacher", "experts", "detector"]


@dataclass(frozen=True, kw_only=True)
class About:
    """Facts about a method for `vddbench methods` that follow neither from its code nor from other constants of its file.

    If settings change a fact, the Config has a field or property of the same name, e.g. `labels`, which then counts instead.
    """

    family: Family
    reads: tuple[Reading, ...] = ()  # besides clips of train videos
    labels: Literal["hard", "soft"] = "hard"
    clips_per_slot: int | None = 1  # clips that each of a class's ipc slots decodes to; None: as many as the budget holds


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """The payload that a baseline made.

    tensors: what the decoder reads. chosen: values that the method chose or measured itself, for the manifest; those
    named `..._seconds` or `..._clips_read` are the cost of earlier work (experts, a teacher) and are added to the set's cost.
    external_data: data or weights used besides the task's train split, for the manifest; "": none.
    """

    tensors: dict[str, torch.Tensor]
    chosen: dict[str, ConfigValue] = field(default_factory=dict)
    external_data: str = ""


@runtime_checkable
class BaselineModule(Protocol):
    """A file in baselines/ that makes a set in one call. It receives the train split and no other data.

    DECODER: name of the decoder that reads the payload. PAPER: https address, or "" for a method without one. Config: a frozen
    dataclass of plain values; `Config()` has the published settings. Optional are `CONFIGS`, the published settings of other
    tasks by task name, `PRESETS`, further settings by name (`--preset NAME`), and `ABOUT`, an About for `vddbench methods`,
    which bundled files must have. A Config whose payload another decoder reads, for example one with soft labels, has a
    property `decoder`.
    """

    DECODER: str
    PAPER: str
    Config: type[Any]

    def distill(self, train: Split, task: Task, config: Any, rng: np.random.Generator) -> Distilled:
        """All randomness comes from `rng`. Raises CannotServe if the method cannot serve the task."""


@runtime_checkable
class IterativeBaselineModule(Protocol):
    """A file in baselines/ that learns a set in `config.iterations` steps. BaselineModule explains the names that both have.

    PRESETS must hold `fast` (minutes on 2 cores) and `smoke` (a few steps, for tests) if the file is bundled.
    """

    DECODER: str
    PAPER: str
    Config: type[Any]
    PRESETS: dict[str, Any]

    def learner(self, train: Split, task: Task, config: Any, seed: int, device: torch.device) -> Learner:
        """The state before the first step. Raises CannotServe if the method cannot serve the task."""


class IterativeConfig(Protocol):
    """What the Config of an iterative baseline must have."""

    @property
    def iterations(self) -> int: ...


class Learner(Protocol):
    """What an iterative baseline learns. All randomness of `step(i)` follows from the seed and i, so resuming is exact."""

    @property
    def real(self) -> RealData: ...

    memory_knob: str  # the Config field that the error message tells the user to lower when memory runs out

    def step(self, iteration: int) -> torch.Tensor:
        """One update. Returns the loss before it: a detached scalar."""

    def exact(self) -> ClipSet:
        """The clips learned so far, in float: what the payload would decode to if nothing were rounded."""

    def distilled(self) -> Distilled:
        """The payload learned so far."""

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that `step` changes."""

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restores what `state` returned, in this process or an earlier one."""


class RealData(Protocol):
    """Where a learner's real data comes from, and what reading it has cost so far."""

    clips_read: int
    waited_seconds: float  # in which a step waited for data
