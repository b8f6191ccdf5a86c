"""Trains one student on one clip set under the protocol. Receives the decoded submission and no other data: no test split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.nn.utils import clip_grad_norm_

from vddbench.evaluation.engine import Batches, Repeated, cuda_graph, is_capturing
from vddbench.evaluation.hardware import (
    Hardware,
    Precision,
    default_micro_batch,
    exact_fp32,
    graph_safe,
    hardware_for,
    has_batch_norm,
    resident,
)
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import StudentModule
from vddbench.protocol import PROTOCOL
from vddbench.spec import ClipSet, DatasetSpec, Recipe


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A student after its last step, with the time, memory and precision of its training."""

    model: torch.nn.Module
    finite: bool  # False: the loss was NaN or infinite at some step
    seconds: float  # training time of all processes together
    micro_batch: int  # clips in one forward pass at the end
    peak_memory_bytes: int  # the largest peak of all processes that trained it
    precision: Precision


def train(
    clipset: ClipSet,
    spec: DatasetSpec,
    student: StudentModule,
    *,
    steps: int,
    batch: int,
    seed: int,
    hardware: Hardware | None = None,
    session: Session | None = None,
    gradient_norm: float = PROTOCOL.gradient_norm,
) -> Trained:
    """Trains a new student with SGD for exactly `steps` steps of `batch` clips, and returns it after the last one.

    gradient_norm: limit on the Euclidean norm of a step's gradient over all weights; a longer one is shortened to it.

    The same seed gives the same student, to the bit on one CPU, even if `session` resumes an interrupted training.
    """
    hardware, session = hardware or hardware_for(student), session or Session()
    model = build(student, spec, seed, hardware.device).train()
    sgd = optimiser(model, student.RECIPE)
    done = session.resume(model, sgd)
    micro_batch = default_micro_batch(model, batch, hardware)
    gradient = BatchGradient(model, spec, hardware, min(micro_batch, done.micro_batch or micro_batch))
    clips, rows = resident(clipset.clips, hardware.device), np.stack(list(batches(len(clipset), batch, steps, seed)))
    chosen = Batches(clips, clipset.labels, rows, done.step, hardware.device)

    def one_step() -> torch.Tensor:
        loss = gradient(*chosen.next())
        clip_grad_norm_(model.parameters(), gradient_norm)
        sgd.step()
        return loss

    next_step = Repeated(one_step, hardware.device, cuda_graph if graph_safe(student, clips) else None)
    with exact_fp32():
        for step in range(done.step, steps):
            sgd.param_groups[0]["lr"] = lr = learning_rate(student.RECIPE, step, steps)
            loss = next_step(lr)
            session.after_step(loss, gradient.micro_batch, last=step + 1 == steps)
    return finished(model, session, hardware)


def finished(model: torch.nn.Module, session: Session, hardware: Hardware) -> Trained:
    """A student after its last step."""
    return Trained(model=model.eval(), precision=hardware.precision, **session.progress().model_dump(exclude={"step"}))


def build(student: StudentModule, spec: DatasetSpec, seed: int, device: torch.device) -> torch.nn.Module:
    """A new network. Seeds PyTorch's global generator, which draws the initial weights and then dropout."""
    torch.manual_seed(seed)
    network: torch.nn.Module = student.build(spec.clip_shape, spec.num_classes).to(device)
    for weight in network.parameters():
        if weight.ndim == 5:  # weights of 3-D convolutions; module.to() would refuse those of 2-D ones
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def optimiser(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step: it drops once."""
    return recipe.lr * (recipe.lr_drop if step >= int(steps * recipe.lr_drop_at) else 1)


def batches(num_clips: int, batch: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """[batch] indices for each step: shuffled passes over all clips, one after the other, so all are used equally often."""
    rng = np.random.default_rng([seed, 0])
    queue = np.empty(0, np.int64)
    for _ in range(steps):
        while len(queue) < batch:
            queue = np.concatenate([queue, rng.permutation(num_clips)])
        yield queue[:batch]
        queue = queue[batch:]


def to_input(clips: torch.Tensor, spec: DatasetSpec, device: torch.device) -> torch.Tensor:
    """[N, T, H, W, C] on the 0-255 scale -> normalised float32 [N, C, T, H, W], which is channels_last_3d without a copy."""
    mean, std = _mean_and_std(spec.mean, spec.std, device)
    x = clips.to(device, non_blocking=True)
    x = x if x.dtype == torch.uint8 else x.float()  # a GPU subtracts float32 from uint8 in one pass
    return x.sub(mean).div_(std).permute(0, 4, 1, 2, 3)


@cache
def _mean_and_std(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std on the 0-255 scale. Cached, because copying even 3 numbers to a GPU waits for the GPU."""
    return torch.tensor(mean, device=device).mul_(255), torch.tensor(std, device=device).mul_(255)


class BatchGradient:
    """Sets the parameters' gradients to those of a batch's mean loss, computed `micro_batch` clips at a time.

    Halves `micro_batch` and repeats the batch if the GPU's memory runs out: the gradient stays that of the whole batch.
    """

    def __init__(self, model: torch.nn.Module, spec: DatasetSpec, hardware: Hardware, micro_batch: int) -> None:
        self.model, self.spec, self.hardware, self.micro_batch = model, spec, hardware, micro_batch

    def __call__(self, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns the mean loss, detached. Raises OutOfMemoryError if the batch can't be split, e.g. for batch norm."""
        while True:
            self.model.zero_grad(set_to_none=True)
            try:
                return self._add_gradients(clips, labels)
            except torch.OutOfMemoryError:
                if self.micro_batch == 1 or has_batch_norm(self.model) or is_capturing(self.hardware.device):
                    raise
                self.micro_batch = (self.micro_batch + 1) // 2
                torch.cuda.empty_cache()

    def inputs(self, clips: torch.Tensor) -> torch.Tensor:
        """What the network sees of some clips of the batch."""
        return to_input(clips, self.spec, self.hardware.device)

    def _add_gradients(self, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        device, total = self.hardware.device, torch.zeros((), device=self.hardware.device)
        for i in range(0, len(labels), self.micro_batch):
            x, target = self.inputs(clips[i : i + self.micro_batch]), labels[i : i + self.micro_batch]
            with torch.autocast(device.type, torch.bfloat16, enabled=self.hardware.precision == "bf16"):
                logits = self.model(x)
            loss = F.cross_entropy(logits.float(), target, reduction="sum") / len(labels)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total
