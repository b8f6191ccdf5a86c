"""Runs an iterative baseline: steps, progress, a checkpoint every minute, resuming, and scores on validation videos if asked.

A baseline's learner holds the state and takes one step; this file does everything else. All randomness of a step follows from
(seed, iteration), so a resumed run gives the same result as an uninterrupted one, to the bit on one CPU.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vddbench.distillation import resume
from vddbench.distillation.contract import Distilled, Learner
from vddbench.distillation.remedies import diverged, enough_memory
from vddbench.distillation.resume import Progress, Settings
from vddbench.distillation.watch import Watch
from vddbench.evaluation.hardware import exact_fp32
from vddbench.system.device import peak_memory_bytes
from vddbench.system.interrupt import interruptible
from vddbench.system.progress import Bar, bar, say

CHECKPOINT_SECONDS = 60.0
SAVING_SECONDS = 3.0  # a checkpoint that takes longer to write (gigabytes) is written proportionally less often
LOSS_EVERY = 10  # iterations between readings of losses, because reading waits for the device


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The set to submit, and the cost of learning it."""

    distilled: Distilled
    progress: Progress
    waited_share: float | None  # share of this process's time spent waiting for real clips; None: it did no iteration
    chosen: dict[str, Any] = field(default_factory=dict)


def learn(learner: Learner, settings: Settings, folder: Path, watch: Watch | None, title: str, forced: bool = False) -> Learned:
    """Runs the learner until `settings["iterations"]`, from the checkpoint in `folder` if one exists.

    With a watch, submits the iteration that scores best on validation videos, otherwise the last one.
    Raises KeyboardInterrupt after the current step is done and saved, ValueError if memory runs out, if the loss is not finite,
    or if the checkpoint has other settings or is damaged.
    """
    total = int(settings["iterations"] or 0)
    run = _Run(learner, settings, folder, forced)
    progress, first = run.progress, run.progress.iteration
    if first:
        say(f"{title}: resumes after iteration {first} ({progress.seconds:.0f} s so far)")
    with bar(title, total, first) as shown, interruptible() as stop:
        if watch is not None and not progress.watched:
            run.score(watch, shown)
        while progress.iteration < total and not stop:
            run.unread_losses.append(step(learner, progress.iteration))
            progress.iteration += 1
            last = progress.iteration == total
            if last or progress.iteration % LOSS_EVERY == 0:
                run.read_losses()
            if watch is not None and (last or progress.iteration % watch.every == 0):
                run.score(watch, shown)
            if run.should_save():
                run.save()
            shown.advance(1, f"loss {progress.losses[-1]:.4g}" if progress.losses else "")
    run.save()
    if stop:
        say(f"stopped after iteration {progress.iteration} of {total}; the same command resumes there", style="yellow")
        raise KeyboardInterrupt
    return run.finished(waited=progress.iteration > first)


def step(learner: Learner, iteration: int) -> torch.Tensor:
    """One step. Raises ValueError if memory runs out; the message says which setting to lower."""
    with enough_memory(f"at iteration {iteration}", learner.memory_knob), exact_fp32():
        loss = learner.step(iteration)
        return torch.as_tensor(loss).detach()  # else the graphs of unread losses would stay in memory


class _Run:
    """One process's part of a run."""

    def __init__(self, learner: Learner, settings: Settings, folder: Path, forced: bool) -> None:
        """Restores the learner from the checkpoint in `folder` if one exists."""
        self.learner, self.settings, self.folder = learner, settings, folder
        self.progress, self.best = Progress(forced=forced), dict[str, torch.Tensor]()  # best: the payload to submit so far
        self.unread_losses: list[torch.Tensor] = []  # still on the device
        saved = resume.read(folder, settings)
        if saved is not None:
            self.progress, self.best = saved.progress, _named("best", saved.tensors)
            learner.restore(_named("learner", saved.tensors))
        self.before = self.progress.model_copy()
        self.started = self.saved_at = time.monotonic()
        self.saving_seconds = 0.0

    def read_losses(self) -> None:
        """Reads the losses. Raises ValueError if one is not finite: the learned tensors are then lost and must not be saved."""
        losses = [float(loss) for loss in self.unread_losses]
        for iteration, loss in enumerate(losses, len(self.progress.losses)):
            if not math.isfinite(loss):
                raise _diverged(iteration)
        self.progress.losses += losses
        self.unread_losses.clear()

    def score(self, watch: Watch, shown: Bar) -> None:
        """Scores the current set, and keeps its payload if it is the best so far. In a tie the earliest counts."""
        self.read_losses()
        distilled = self.learner.distilled()
        top1 = watch.top1(distilled, lambda _, note: shown.advance(0, f"student on validation videos: {note}"))
        if all(top1 > earlier for _, earlier in self.progress.watched):
            self.best, self.progress.best_chosen = distilled.tensors, distilled.chosen
        self.progress.watched.append((self.progress.iteration, top1))
        say(f"  after {self.progress.iteration} iterations: validation top-1 {top1:.1%}")

    def should_save(self) -> bool:
        return time.monotonic() - self.saved_at > CHECKPOINT_SECONDS * max(1.0, self.saving_seconds / SAVING_SECONDS)

    def save(self) -> None:
        """Writes the checkpoint. If a learned tensor is not finite, raises ValueError and leaves the old checkpoint."""
        self.read_losses()
        learned = self.learner.state()
        if not all(value.isfinite().all() for value in learned.values()):  # a finite loss can have a NaN or infinite gradient
            raise _diverged(self.progress.iteration)
        device = next(iter(learned.values())).device
        began = time.monotonic()
        self.progress.seconds = self.before.seconds + began - self.started
        self.progress.clips_read = self.before.clips_read + self.learner.real.clips_read
        self.progress.peak_memory_bytes = max(self.progress.peak_memory_bytes, peak_memory_bytes(device))
        tensors = {f"learner.{k}": v for k, v in learned.items()} | {f"best.{k}": v for k, v in self.best.items()}
        resume.write(self.folder, self.settings, self.progress, tensors)
        self.saved_at = time.monotonic()
        self.saving_seconds = self.saved_at - began

    def finished(self, waited: bool) -> Learned:
        """What to submit. waited: whether this process took steps."""
        share = self.learner.real.waited_seconds / (time.monotonic() - self.started) if waited else None
        if not self.progress.watched:
            chosen = {"iteration": self.progress.iteration, "iteration_chosen_by": "config"}
            return Learned(distilled=self.learner.distilled(), progress=self.progress, waited_share=share, chosen=chosen)
        iteration, top1 = max(self.progress.watched, key=lambda scored: (scored[1], -scored[0]))
        chosen = {"iteration": iteration, "iteration_chosen_by": "validation", "validation_top1": round(top1, 4)}
        best = Distilled(tensors=self.best, chosen=self.progress.best_chosen)
        return Learned(distilled=best, progress=self.progress, waited_share=share, chosen=chosen)


def _named(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors `PREFIX.NAME`, by NAME."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _diverged(iteration: int) -> ValueError:
    return diverged(f"the loss or what is learned is not finite at iteration {iteration}")
