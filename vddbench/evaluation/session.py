"""Everything around a student's training that does not change the student: progress messages, saving, resuming."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch

from vddbench.evaluation.resume import Checkpoint
from vddbench.spec import Frozen
from vddbench.system.device import peak_memory_bytes
from vddbench.system.progress import say

EVERY_SECONDS = 60.0  # at most this much training is lost
REPORT_EVERY = 10  # steps between progress messages: reading the loss waits for the device
MOMENTUM = "momentum_buffer"  # PyTorch's name for it in SGD's state


class StudentProgress(Frozen):
    """The state of a student's training, without its tensors."""

    step: int = 0  # SGD steps done
    micro_batch: int = 0  # clips in one forward pass; 0: not chosen yet
    finite: bool = True  # whether all losses were finite
    seconds: float = 0.0  # training time of all processes together
    peak_memory_bytes: int = 0  # the largest peak of all processes that trained it


class Session:
    """The part of a student's training that one process does. Without a checkpoint nothing is saved."""

    def __init__(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        on_step: Callable[[int, str], None] = lambda new_steps, note: None,
        stop: Sequence[int] = (),
    ) -> None:
        """on_step(new_steps, note): progress callback. stop: holds a signal's number as soon as the training should end."""
        self.checkpoint, self.on_step, self.stop = checkpoint, on_step, stop
        self.started = self.saved_at = time.monotonic()

    def resume(self, model: torch.nn.Module, sgd: torch.optim.Optimizer) -> StudentProgress:
        """Restores network, optimiser and random numbers from the checkpoint. Returns the progress so far.

        If there is no checkpoint of this student, or a damaged one, the training starts over.
        """
        self.model, self.sgd = model, sgd
        self.before = self._load()
        self.step = self.reported = self.before.step
        self.micro_batch = self.before.micro_batch
        self.finite = torch.full((), self.before.finite, device=self.device)  # reading it waits for the device
        if self.step:
            say(f"  resumes after step {self.step} ({self.before.seconds:.0f} s so far)")
            self.on_step(self.step, "")
        return self.before

    def after_step(self, loss: torch.Tensor, micro_batch: int, *, last: bool) -> None:
        """Reports and saves at intervals. Raises KeyboardInterrupt, after saving, if the training should stop."""
        self.step, self.micro_batch = self.step + 1, micro_batch
        self.finite &= loss.isfinite()
        if self.step % REPORT_EVERY == 0 or last:
            self.on_step(self.step - self.reported, f"loss {loss.item():.3f}")
            self.reported = self.step
        if self.checkpoint is not None and self._must_save(last):
            self._save(self.checkpoint)

    def progress(self) -> StudentProgress:
        finite = bool(self.finite.item())  # waits for the device, so that the seconds are true
        return StudentProgress(
            step=self.step,
            micro_batch=self.micro_batch,
            finite=finite,
            seconds=self.before.seconds + time.monotonic() - self.started,
            peak_memory_bytes=max(self.before.peak_memory_bytes, peak_memory_bytes(self.device)),
        )

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _must_save(self, last: bool) -> bool:
        """True once a minute, on a signal, and after the last step of a long training, before the student is tested."""
        now = time.monotonic()
        return bool(self.stop) or now - self.saved_at > EVERY_SECONDS or (last and now - self.started > EVERY_SECONDS)

    def _save(self, checkpoint: Checkpoint) -> None:
        """Saves, and then raises KeyboardInterrupt if the training should stop. A full disk does not end a training."""
        self.saved_at = time.monotonic()
        stopped = f"stopped after step {self.step}; the same command resumes there"
        try:
            checkpoint.write(self.progress(), state(self.model, self.sgd))
        except OSError as error:
            stopped = "stopped; the same command resumes from what was saved before"
            say(f"cannot save {checkpoint.path} ({error.strerror})", style="yellow")
        if self.stop:
            say(stopped, style="yellow")
            raise KeyboardInterrupt

    def _load(self) -> StudentProgress:
        try:
            saved = self.checkpoint.read(StudentProgress) if self.checkpoint is not None else None
            if saved is None:
                return StudentProgress()
            restore(self.model, self.sgd, saved.tensors)
        except (OSError, ValueError) as error:
            say(f"training starts over, because its checkpoint cannot be used: {str(error)[:300]}", style="yellow")
            return StudentProgress()
        return saved.progress


def state(model: torch.nn.Module, sgd: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Everything the next step depends on, by name."""
    device = next(model.parameters()).device
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        if (momentum := sgd.state[parameter].get(MOMENTUM)) is not None:
            tensors[f"{MOMENTUM}.{name}"] = momentum
    tensors["random"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random_cuda"] = torch.cuda.get_rng_state(device)
    return tensors


@torch.no_grad()
def restore(model: torch.nn.Module, sgd: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restores the result of `state`. Raises ValueError, before anything is changed, if the tensors are not this student's."""
    momentum = {f"{MOMENTUM}.{name}": parameter for name, parameter in model.named_parameters()}
    shapes = {name: value.shape for name, value in tensors.items()}
    required = {name: value.shape for name, value in state(model, sgd).items()}
    allowed = required | {name: value.shape for name, value in momentum.items()}  # a parameter without gradient has no momentum
    if not required.items() <= shapes.items() <= allowed.items():
        raise ValueError("the tensors are not those of this student")
    try:
        torch.Generator().set_state(tensors["random"])
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"the random numbers are not readable: {error}") from error
    for name, parameter in momentum.items():
        if name in tensors:
            sgd.state[parameter][MOMENTUM] = torch.empty_like(parameter).copy_(tensors[name])
    model.load_state_dict({k.removeprefix("model."): value for k, value in tensors.items() if k.startswith("model.")})
    torch.set_rng_state(tensors["random"])
    if "random_cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random_cuda"], next(model.parameters()).device)
