"""A student in training, kept beside where its record will stand: `seedN.unfinished`, one safetensors file, replaced whole.

An interrupted student goes on from it; on one CPU it is then the student it would have been, to the bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vddbench.system.files import replacing
from vddbench.system.progress import say

UNFINISHED = ".unfinished"  # in place of a record's .json
FORMAT = 1  # of the file and of what training keeps in it
EVERY_SECONDS = 60.0  # of training are lost at most
MOMENTUM = "momentum_buffer"  # PyTorch's name for it in SGD's state


@dataclass
class Position:
    """How far a student is."""

    step: int = 0  # SGD steps done
    micro_batch: int = 0  # clips a forward pass, after halving; 0: not known yet
    finite: bool = True  # were all losses?
    seconds: float = 0.0  # of all processes that trained it
    peak_memory_bytes: int = 0  # of those before this one


class Unfinished:
    """The file of one student. `about` says what it is of: a file of anything else is not gone on with."""

    def __init__(self, path: Path, about: Mapping[str, Any], stop: Sequence[int] = ()) -> None:
        """stop: not empty once a signal was caught."""
        self.path, self.about, self.stop = path, {"format": FORMAT, **about}, stop
        self.begun = self.saved_at = time.monotonic()

    def load(self, model: torch.nn.Module, sgd: torch.optim.Optimizer) -> Position:
        """Puts model, SGD and random numbers where the file left them; a fresh Position when there is none of this student.

        A damaged file is said, and the student begins again.
        """
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if json.loads(metadata["about"]) != self.about:
                say(f"{self.path} is of a student under other conditions: beginning again", style="yellow")
                return Position()
            position = Position(**json.loads(metadata["position"]))
            _restore(model, sgd, tensors)
        except FileNotFoundError:
            return Position()
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            say(f"{self.path} is damaged ({str(error)[:200]}): beginning again", style="yellow")
            return Position()
        say(f"  goes on after step {position.step} ({position.seconds:.0f} s so far)")
        return position

    def due(self, last: bool) -> bool:
        """Time to save? Once a minute, when a signal came, and after the last step of a long training, before its testing."""
        now = time.monotonic()
        return bool(self.stop) or now - self.saved_at > EVERY_SECONDS or (last and now - self.begun > EVERY_SECONDS)

    def save(self, model: torch.nn.Module, sgd: torch.optim.Optimizer, position: Position) -> None:
        """Raises KeyboardInterrupt, after saving, when a signal came. A full disk is said, and training goes on."""
        metadata = {"about": json.dumps(self.about), "position": json.dumps(vars(position))}
        tensors = {name: value.detach().cpu().contiguous() for name, value in _state(model, sgd).items()}
        self.saved_at = time.monotonic()
        done = f"stopped after step {position.step}; the same command goes on from there"
        try:
            with replacing(self.path) as file:
                file.write(save(tensors, metadata))
        except OSError as error:
            done = "stopped; the same command goes on from what was saved before"
            say(f"cannot save {self.path} ({error.strerror})", style="yellow")
        if self.stop:
            say(done, style="yellow")
            raise KeyboardInterrupt

    def drop(self) -> None:
        """With what killed processes left of their writing."""
        for left in [self.path, *self.path.parent.glob(f".{self.path.name}.*.part")]:
            left.unlink(missing_ok=True)


def _state(model: torch.nn.Module, sgd: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Everything the next step depends on, by name."""
    device = next(model.parameters()).device
    found = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        if (momentum := sgd.state[parameter].get(MOMENTUM)) is not None:
            found[f"{MOMENTUM}.{name}"] = momentum
    found["random"] = torch.get_rng_state()
    if device.type == "cuda":
        found["random_cuda"] = torch.cuda.get_rng_state(device)
    return found


@torch.no_grad()
def _restore(model: torch.nn.Module, sgd: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises ValueError, before anything is changed, for tensors that are not of this student."""
    momentum = {f"{MOMENTUM}.{name}": parameter for name, parameter in model.named_parameters()}
    due = {name: value.shape for name, value in _state(model, sgd).items()}
    allowed = {name: value.shape for name, value in momentum.items()}  # of a parameter without a gradient there is none
    found = {name: value.shape for name, value in tensors.items()}
    if not due.items() <= found.items() <= {**due, **allowed}.items():
        raise ValueError("its tensors are not those of this student")
    try:
        torch.Generator().set_state(tensors["random"])
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"its random numbers are not to be read: {error}") from error
    for name, parameter in momentum.items():
        if name in tensors:
            sgd.state[parameter][MOMENTUM] = torch.empty_like(parameter).copy_(tensors[name])
    model.load_state_dict({k.removeprefix("model."): value for k, value in tensors.items() if k.startswith("model.")})
    torch.set_rng_state(tensors["random"])
    if "random_cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random_cuda"], next(model.parameters()).device)
