"""Measures how fast this machine trains and tests a student, compared with the bare network."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from statistics import median

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.utils.flop_counter import FlopCounterMode

from vddbench.data.store import Split
from vddbench.evaluation.engine import EAGER_STEPS
from vddbench.evaluation.hardware import Precision, exact_fp32, hardware_for
from vddbench.evaluation.predict import probabilities
from vddbench.evaluation.students import StudentModule
from vddbench.evaluation.train import build, optimiser, to_input, train
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.system.allocator import keep_freed_memory

ROUNDS = 5
ROUND_SECONDS = 1.0  # a round lasts at least this long, so that the overhead of a call does not dominate on a fast GPU
MIN_STEPS = 4  # in a round


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds per clip, for the referee's code and for the bare network alone."""

    train: float
    bare_train: float
    test: float
    bare_test: float
    gflop: float  # per clip, for one training step


@exact_fp32()
def measure(
    student: StudentModule, spec: DatasetSpec, batch: int, device: torch.device, precision: Precision | None = None
) -> Speed:
    """Times one student on random clips of one shape. Rounds alternate the referee's code with the bare network."""
    keep_freed_memory()  # as evaluate does
    clipset, split = random_clips(spec, batch), random_split(spec, 4 * batch)
    model = build(student, spec, 0, device)
    x = to_input(clipset.clips, spec, device)
    labels = clipset.labels.to(device)
    hardware = hardware_for(student, device, precision=precision)
    sgd = optimiser(model, student.RECIPE)

    bare_train = partial(bare_steps, model, x, labels, sgd, hardware.precision)

    def referee_train(steps: int) -> None:
        train(clipset, spec, student, steps=steps, batch=batch, seed=0, hardware=hardware)

    def referee_test() -> None:
        probabilities(model, split, device, batch=batch)

    with counting(model) as counter:
        bare_train(1)
    steps = max(MIN_STEPS, ceil(ROUND_SECONDS / timed(lambda: bare_train(1), device)))
    rounds = [
        (
            per_step(referee_train, steps, device) / batch,
            per_step(bare_train, steps, device) / batch,
            timed(referee_test, device) / (4 * batch),
            timed(lambda: bare_answers(model, x, 4), device) / (4 * batch),
        )
        for _ in range(ROUNDS)
    ]
    medians = [median(column) for column in zip(*rounds, strict=True)]
    return Speed(
        train=medians[0],
        bare_train=medians[1],
        test=medians[2],
        bare_test=medians[3],
        gflop=counter.get_total_flops() / batch / 1e9,
    )


def bare_steps(
    model: nn.Module, x: torch.Tensor, labels: torch.Tensor, sgd: torch.optim.Optimizer, precision: Precision, steps: int
) -> None:
    """Training steps of the network alone, all on one batch of inputs."""
    model.train()
    for _ in range(steps):
        sgd.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(x)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        sgd.step()


@torch.no_grad()
@exact_fp32()
def bare_answers(model: nn.Module, x: torch.Tensor, times: int) -> None:
    """Answers of the network alone to one batch of inputs."""
    model.eval()
    for _ in range(times):
        model(x)


@contextmanager
def counting(model: nn.Module) -> Iterator[FlopCounterMode]:
    """Counts operations. Without oneDNN if layers are recurrent: there they are one operation, which is not counted."""
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in model.modules())
    with (
        warnings.catch_warnings(action="ignore"),  # the flags of oneDNN warn that there is no Intel GPU
        torch.backends.mkldnn.flags(enabled=not recurrent),
        FlopCounterMode(display=False) as counter,
    ):
        yield counter


def per_step(
    run: Callable[[int], object], steps: int, device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds per step, without the one-time costs of a training, such as building the network and capturing its steps."""
    first = first_steps(device)
    short = timed(lambda: run(first), device, clock)
    return (timed(lambda: run(first + steps), device, clock) - short) / steps


def first_steps(device: torch.device) -> int:
    """The steps of a training with all its one-time costs: on a GPU, a step is captured at each of two learning rates."""
    return 2 * EAGER_STEPS + 2 if device.type == "cuda" else 1


def timed(run: Callable[[], object], device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds by `clock` until `run` and all work that it gave the GPU are done."""
    started = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def random_clips(spec: DatasetSpec, count: int) -> ClipSet:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (count, *spec.clip_shape), generator=generator, dtype=torch.uint8)
    return ClipSet(clips=clips, labels=torch.arange(count) % spec.num_classes)


def random_split(spec: DatasetSpec, count: int, num_frames: int | None = None) -> Split:
    """`count` random videos in memory, each of so many frames; None: exactly one clip long."""
    num_frames = num_frames or spec.frames
    pixels = random_clips(spec.model_copy(update={"frames": num_frames}), count).clips.flatten(0, 1).numpy()
    index = pd.DataFrame(
        {
            "video": [f"v{i}" for i in range(count)],
            "label": np.arange(count) % spec.num_classes,
            "group": "",
            "offset": np.arange(count) * num_frames,
            "num_frames": num_frames,
        }
    )
    return Split(name="test", dataset="bench", digest="", spec=spec, index=index, frames=pixels)
