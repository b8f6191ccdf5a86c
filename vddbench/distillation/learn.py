"""Runs an iterative baseline: progress, a checkpoint a minute, resume, and looks at validation videos when asked.

A baseline's `learner(...)` makes the state and one `step`; everything that takes longer than a step is here. All randomness
of a step follows from (seed, iteration), so a resumed run is the same run, to the bit on one CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vddbench.distillation import resume as checkpoint
from vddbench.distillation.contract import Distilled, Learner
from vddbench.distillation.resume import Progress, Settings
from vddbench.distillation.watch import Watch
from vddbench.evaluation.hardware import exact_fp32
from vddbench.system.device import peak_memory_bytes
from vddbench.system.interrupt import interruptible
from vddbench.system.progress import bar, say

CHECKPOINT_SECONDS = 60.0
SAVING_SECONDS = 3.0  # a checkpoint that takes longer to write, of gigabytes, is written as much less often
LOSS_EVERY = 10  # iterations between reading losses: reading waits for the device


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The set to submit, and what it took."""

    distilled: Distilled
    progress: Progress
    waited_share: float | None  # of this process's seconds, for real clips; None when nothing was left to do
    chosen: dict[str, Any] = field(default_factory=dict)


def learn(learner: Learner, settings: Settings, folder: Path, watch: Watch | None, title: str, forced: bool = False) -> Learned:
    """Iterates until `settings["iterations"]`, from the checkpoint in `folder` if there is one.

    With a watch, the best iteration on validation videos is the one submitted; else the last. Raises KeyboardInterrupt after
    the step under way is done and saved, ValueError when memory runs out, the loss is no number, or a checkpoint has other
    settings.
    """
    total = int(settings["iterations"] or 0)
    progress, best = _resume(learner, settings, folder, title, forced)
    started, at_start = time.monotonic(), progress.iteration
    run = _Run(learner, settings, folder, progress, best, started, progress.seconds, progress.clips_read)
    with bar(title, total, at_start) as shown, interruptible() as stop:
        if watch is not None and not progress.watched:
            run.look(watch)
        while progress.iteration < total and not stop:
            run.pending.append(step(learner, progress.iteration))
            progress.iteration += 1
            if progress.iteration % LOSS_EVERY == 0 or progress.iteration == total:
                run.read_losses()
            if watch is not None and (progress.iteration % watch.every == 0 or progress.iteration == total):
                run.look(watch)
            run.save_when_due()
            shown.advance(1, f"loss {progress.losses[-1]:.4g}" if progress.losses else "")
    run.save()
    if stop:
        say(f"stopped after iteration {progress.iteration} of {total}; the same command goes on from there", style="yellow")
        raise KeyboardInterrupt
    spent = time.monotonic() - started
    share = learner.real.waited_seconds / spent if progress.iteration > at_start else None
    return run.finished(share)


class _Run:
    """One process's part of a run."""

    def __init__(
        self,
        learner: Learner,
        settings: Settings,
        folder: Path,
        progress: Progress,
        best: dict[str, torch.Tensor],
        started: float,
        seconds_before: float,
        clips_before: int,
    ) -> None:
        self.learner, self.settings, self.folder, self.progress, self.best = learner, settings, folder, progress, best
        self.started, self.seconds_before, self.clips_before = started, seconds_before, clips_before
        self.pending: list[torch.Tensor] = []  # losses still on the device
        self.saved_at, self.saving_seconds = started, 0.0

    def read_losses(self) -> None:
        """Raises ValueError when one is no number: what is learned then is lost, and no checkpoint may keep it."""
        losses = [float(loss) for loss in self.pending]
        if not all(map(math.isfinite, losses)):
            first = len(self.progress.losses) + next(i for i, loss in enumerate(losses) if not math.isfinite(loss))
            raise _diverged(first)
        self.progress.losses += losses
        self.pending.clear()

    def look(self, watch: Watch) -> None:
        """Scores the set as it is now; keeps its payload when it is the best so far (the earlier one when equal)."""
        self.read_losses()
        distilled = self.learner.distilled()
        top1 = watch.top1(distilled)
        if not self.progress.watched or top1 > max(score for _, score in self.progress.watched):
            self.best, self.progress.best_chosen = distilled.tensors, distilled.chosen
        self.progress.watched.append((self.progress.iteration, top1))
        say(f"  after {self.progress.iteration} iterations: validation top-1 {top1:.1%}")

    def save_when_due(self) -> None:
        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS * max(1.0, self.saving_seconds / SAVING_SECONDS):
            self.save()

    def save(self) -> None:
        self.read_losses()
        self.progress.seconds = self.seconds_before + time.monotonic() - self.started
        self.progress.clips_read = self.clips_before + self.learner.real.clips_read
        learned = self.learner.state()
        if not all(value.isfinite().all() for value in learned.values()):  # of a finite loss the gradient may not be finite
            raise _diverged(self.progress.iteration)
        state = {f"learner.{k}": v for k, v in learned.items()} | {f"best.{k}": v for k, v in self.best.items()}
        device = next(iter(learned.values())).device
        self.progress.peak_memory_bytes = max(self.progress.peak_memory_bytes, peak_memory_bytes(device))
        began = time.monotonic()
        checkpoint.write(self.folder, self.settings, self.progress, state)
        self.saved_at = time.monotonic()
        self.saving_seconds = self.saved_at - began

    def finished(self, share: float | None) -> Learned:
        if not self.progress.watched:
            chosen = {"iteration": self.progress.iteration, "iteration_chosen_by": "config"}
            return Learned(distilled=self.learner.distilled(), progress=self.progress, waited_share=share, chosen=chosen)
        iteration, top1 = max(self.progress.watched, key=lambda seen: (seen[1], -seen[0]))
        chosen = {"iteration": iteration, "iteration_chosen_by": "validation", "validation_top1": round(top1, 4)}
        best = Distilled(tensors=self.best, chosen=self.progress.best_chosen)
        return Learned(distilled=best, progress=self.progress, waited_share=share, chosen=chosen)


def _diverged(iteration: int) -> ValueError:
    return ValueError(
        f"the loss or what is learned is not finite at iteration {iteration}: lower the learning rates in the method's file, "
        "or use --preset fast"
    )


def _resume(
    learner: Learner, settings: Settings, folder: Path, title: str, forced: bool
) -> tuple[Progress, dict[str, torch.Tensor]]:
    found = checkpoint.read(folder, settings)
    if found is None:
        return Progress(forced=forced), {}
    progress, tensors = found
    learner.restore({k.removeprefix("learner."): v for k, v in tensors.items() if k.startswith("learner.")})
    say(f"{title}: goes on after iteration {progress.iteration} ({progress.seconds:.0f} s so far)")
    return progress, {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}


def step(learner: Learner, iteration: int) -> torch.Tensor:
    """One step. Raises ValueError, naming what to lower, when memory runs out."""
    with enough_memory(learner.memory_knob, f"at iteration {iteration}"), exact_fp32():
        return learner.step(iteration)


@contextmanager
def enough_memory(knob: str, when: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        if not on_gpu and not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise ValueError(
            f"{'the GPU' if on_gpu else 'this machine'}'s memory ran out {when}: lower {knob} in the method's file, or use "
            "--preset fast; what was done is kept up to the last checkpoint"
        ) from error
