"""Trains one student on one clip set under protocol v1. Gets the decoded submission and nothing else: no test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.evaluation.resume import Position, Unfinished
from vddbench.evaluation.students import StudentModule
from vddbench.spec import ClipSet, DatasetSpec, Recipe
from vddbench.system.device import best_device, peak_memory_bytes

Precision = Literal["fp32", "bf16"]
NORMS_OVER_BATCH = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
CPU_MICRO_BATCH = 64  # clips a forward pass on the CPU, which has no out-of-memory error to answer to
RESIDENT_SHARE = 0.5  # clips stay on the GPU when they fit into this share of its free memory
REPORT_EVERY = 10  # steps between progress notes: reading the loss waits for the device


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A student after its last step, and what it took."""

    model: torch.nn.Module
    finite: bool  # False: the loss was NaN or infinite at some step
    seconds: float
    micro_batch: int
    peak_memory_bytes: int  # of all processes that trained it
    precision: Precision


def best_precision(device: torch.device, student: StudentModule) -> Precision:
    """bf16 autocast for students whose file says that a parity study found no shift, on hardware that multiplies bf16."""
    if not getattr(student, "BF16", False):
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    can = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") else "fp32"


def to_input(clips: torch.Tensor, spec: DatasetSpec, device: torch.device) -> torch.Tensor:
    """[N, T, H, W, C] on the 0-255 scale -> normalised float32 [N, C, T, H, W], which is channels_last_3d without a copy."""
    mean, std = _colours(spec.mean, spec.std, device)
    x = clips.to(device, non_blocking=True).float()
    return x.sub(mean).div_(std).permute(0, 4, 1, 2, 3)


@cache
def _colours(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """On the 0-255 scale; kept, because copying even 3 numbers to a GPU waits for it."""
    return torch.tensor(mean, device=device).mul_(255), torch.tensor(std, device=device).mul_(255)


def batches(num_clips: int, batch: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """[batch] indices for each step: shuffled passes over all clips, one after the other, so each is used equally often."""
    rng = np.random.default_rng([seed, 0])
    queue = np.empty(0, np.int64)
    for _ in range(steps):
        while len(queue) < batch:
            queue = np.concatenate([queue, rng.permutation(num_clips)])
        yield queue[:batch]
        queue = queue[batch:]


@contextmanager
def exact_fp32() -> Iterator[None]:
    """fp32 means fp32: without this PyTorch lets GPUs round convolutions' inputs to TF32 (10 bits of mantissa)."""
    places: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


def build(student: StudentModule, spec: DatasetSpec, seed: int, device: torch.device) -> torch.nn.Module:
    """A fresh network. The one place that seeds the global generator: initial weights, then dropout, follow from `seed`."""
    torch.manual_seed(seed)
    network: torch.nn.Module = student.build(spec.clip_shape, spec.num_classes).to(device)
    for weight in network.parameters():
        if weight.ndim == 5:  # of 3-D convolutions; module.to() would refuse the weights of 2-D ones
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def has_batch_norm(model: torch.nn.Module) -> bool:
    return any(isinstance(m, NORMS_OVER_BATCH) for m in model.modules())


def optimiser(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def default_micro_batch(model: torch.nn.Module, batch: int, device: torch.device) -> int:
    """The whole batch on a GPU (halved when memory runs out) and for networks with batch norm; else a bound for the CPU."""
    if device.type == "cuda" or has_batch_norm(model):
        return batch
    return min(batch, CPU_MICRO_BATCH)


def gradients(
    model: torch.nn.Module,
    clips: torch.Tensor,
    labels: torch.Tensor,
    spec: DatasetSpec,
    micro: int,
    precision: Precision,
) -> torch.Tensor:
    """Adds the batch's gradient to the parameters, `micro` clips at a time; returns the batch's mean loss."""
    device = labels.device
    total = torch.zeros((), device=device)
    for i in range(0, len(labels), micro):
        x = to_input(clips[i : i + micro], spec, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), labels[i : i + micro], reduction="sum") / len(labels)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def train(
    clipset: ClipSet,
    spec: DatasetSpec,
    student: StudentModule,
    *,
    steps: int,
    batch: int,
    seed: int,
    device: torch.device | None = None,
    precision: Precision | None = None,
    micro_batch: int | None = None,
    halvings: int = 0,
    on_step: Callable[[int, str], None] = lambda steps, note: None,
    unfinished: Unfinished | None = None,
) -> Trained:
    """SGD for exactly `steps` steps of `batch` clips; lr drops once. Same seed, same student, to the bit on one CPU.

    halvings: of the micro-batch. on_step: is told the steps done since it was last told, and the loss. unfinished: the file
    to go on from and to save in.
    """
    device = device or best_device()
    precision = precision or best_precision(device, student)
    started = time.monotonic()
    model = build(student, spec, seed, device).train()
    sgd = optimiser(model, student.RECIPE)
    at = unfinished.load(model, sgd) if unfinished else Position()
    before, told = at.seconds, at.step
    if at.step:
        on_step(at.step, "")
    micro = at.micro_batch or micro_batch or default_micro_batch(model, batch, device)
    if halvings and not has_batch_norm(model):  # an earlier process was killed for its memory
        micro = max(1, min(micro, default_micro_batch(model, batch, device) >> halvings))
    clips, labels = resident(clipset.clips, device), clipset.labels.to(device)
    finite = torch.full((), at.finite, device=device)
    with exact_fp32():
        for step, rows in enumerate(batches(len(clipset), batch, steps, seed)):
            if step < at.step:
                continue  # done by an earlier process
            sgd.param_groups[0]["lr"] = rate(student.RECIPE, step, steps)
            index = torch.from_numpy(rows)
            chosen, target = clips[index.to(clips.device)], labels[index.to(device)]
            loss, micro = step_gradients(model, sgd, chosen, target, spec, micro, precision)
            sgd.step()
            finite &= loss.isfinite()
            if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps:
                on_step(step + 1 - told, f"loss {loss.item():.3f}")
                told = step + 1
            if unfinished is not None and unfinished.due(last=step + 1 == steps):
                peak = max(at.peak_memory_bytes, peak_memory_bytes(device))
                at = Position(step + 1, micro, bool(finite.item()), before + time.monotonic() - started, peak)
                unfinished.save(model, sgd, at)
    ok = bool(finite.item())  # also waits for the device, so that the seconds are true
    seconds = before + time.monotonic() - started
    return Trained(
        model=model.eval(),
        finite=ok,
        seconds=seconds,
        micro_batch=micro,
        precision=precision,
        peak_memory_bytes=max(at.peak_memory_bytes, peak_memory_bytes(device)),
    )


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The lr of a step."""
    return recipe.lr * (recipe.lr_drop if step >= int(steps * recipe.lr_drop_at) else 1)


def resident(clips: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The clips on the device when they fit comfortably, else where they are (each batch is then copied over)."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if clips.numel() * clips.element_size() < RESIDENT_SHARE * free:
            return clips.to(device)
    return clips


def step_gradients(
    model: torch.nn.Module,
    sgd: torch.optim.Optimizer,
    clips: torch.Tensor,
    labels: torch.Tensor,
    spec: DatasetSpec,
    micro: int,
    precision: Precision,
) -> tuple[torch.Tensor, int]:
    """The gradient of one batch; when the GPU's memory runs out, again with half the micro-batch (same effective batch).

    Networks with batch norm are never split: statistics over fewer clips are another network. Theirs raises.
    """
    while True:
        sgd.zero_grad(set_to_none=True)
        try:
            return gradients(model, clips, labels, spec, micro, precision), micro
        except torch.OutOfMemoryError:
            if micro == 1 or has_batch_norm(model):
                raise
            micro = (micro + 1) // 2
            torch.cuda.empty_cache()
