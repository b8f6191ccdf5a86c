"""`bench --distillers`: iterations/s of the matching baselines, against the same step written straightforwardly.

Random pixels stand in for a dataset. Figures are medians over rounds that alternate the two, so that drift of the machine
affects both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from vddbench.baselines import dm, frepo, mtt, static_dc
from vddbench.data.datasets import miniucf, movingshapes
from vddbench.data.store import Split
from vddbench.distillation.contract import Learner
from vddbench.distillation.features import autocast, embed, random_net
from vddbench.evaluation.hardware import exact_fp32
from vddbench.evaluation.speed import random_split, timed
from vddbench.leaderboard.studies.bench import naive
from vddbench.spec import DatasetSpec, Task
from vddbench.system.device import best_device, device_name
from vddbench.system.home import temporary_home
from vddbench.system.progress import bar

AVLETTERS10 = movingshapes.SPEC.model_copy(update={"class_names": tuple("ABCDEFGHIJ")})  # its shape: 10 classes, 8x64x64
HEADERS = ("method", "data", "real clips", "iterations/s", "straightforward", "faster", "waiting for data")
ROUNDS = 5
MTT_STEPS = (5, 10, 20)  # inner steps whose memory is compared


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method at one size, and its straightforward step. real_clips: how many a step reads, for the table."""

    name: str
    real_clips: str
    ours: Learner
    straight: Callable[[], None]


def cases(split: Split, sizes: dict[str, int], device: torch.device) -> Iterator[Case]:
    """All four matching methods. sizes: `per_class` real clips, the real `batch` of frepo and the `inner_steps` of mtt."""
    task, per_class, batch, steps = Task(dataset="bench", ipc=1), sizes["per_class"], sizes["batch"], sizes["inner_steps"]
    num_classes = split.spec.num_classes
    dc = static_dc.Config(real_per_class=per_class)
    yield Case(
        name="static_dc",
        real_clips=f"{per_class * num_classes} frames",
        ours=static_dc.learner(split, task, dc, 0, device),
        straight=naive.static_dc_step(split, 1, per_class, device),
    )
    yield Case(
        name="dm",
        real_clips=str(per_class * num_classes),
        ours=dm.learner(split, task, dm.Config(real_per_class=per_class), 0, device),
        straight=naive.dm_step(split, 1, per_class, device),
    )
    yield Case(
        name=f"mtt, {steps} inner steps",
        real_clips="0",
        ours=mtt.learner(split, task, small_mtt(steps), 0, device),
        straight=naive.mtt_step(split, 1, steps, device),
    )
    yield Case(
        name="frepo",
        real_clips=str(batch),
        ours=frepo.learner(split, task, frepo.Config(real_batch=batch, pool=2), 0, device),
        straight=naive.frepo_step(split, 1, batch, device),
    )


def small_mtt(inner_steps: int) -> mtt.Config:
    """Settings with one expert of one epoch, because the cost of a step does not depend on the quality of the experts."""
    return mtt.Config(inner_steps=inner_steps, num_experts=1, min_start_epoch=0, max_start_epoch=1)


def measure(case: Case, device: torch.device) -> list[str]:
    """A row of HEADERS: medians of ROUNDS rounds of one step of each, after one of each to warm up."""
    number = count()

    def ours() -> None:
        with exact_fp32():
            case.ours.step(next(number)).item()

    timed(ours, device), timed(case.straight, device)
    before = case.ours.real.waited_seconds
    rounds = [(timed(ours, device), timed(case.straight, device)) for _ in range(ROUNDS)]
    fast, slow = (median(column) for column in zip(*rounds, strict=True))
    waited = (case.ours.real.waited_seconds - before) / sum(mine for mine, _ in rounds)
    return [case.name, case.real_clips, f"{1 / fast:.3g}", f"{1 / slow:.3g}", f"{slow / fast:.1f}x", f"{waited:.1%}"]


def graph_bytes(run: Callable[[], Any]) -> int:
    """The most bytes that autograd held for backward passes at any moment of `run`. A tensor counts each time it is held."""
    held = most = 0

    def keep(tensor: torch.Tensor) -> _Held:
        nonlocal held, most
        held += tensor.numel() * tensor.element_size()
        most = max(most, held)
        return _Held(tensor, release)

    def release(num_bytes: int) -> None:
        nonlocal held
        held -= num_bytes

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        run()
    return most


class _Held:
    """A tensor that autograd holds; calls `release` with its bytes when it no longer does."""

    def __init__(self, tensor: torch.Tensor, release: Callable[[int], None]) -> None:
        self.tensor, self.release = tensor, release

    def __del__(self) -> None:
        self.release(self.tensor.numel() * self.tensor.element_size())


def memory_rows(split: Split, device: torch.device) -> Iterator[list[str]]:
    """MB that the graphs of a step of mtt hold, by the number of inner steps."""
    for steps in MTT_STEPS:
        ours = mtt.learner(split, Task(dataset="bench", ipc=1), small_mtt(steps), 0, device)
        mine = graph_bytes(lambda learner=ours: learner.step(0))  # type: ignore[misc]
        straight = graph_bytes(naive.mtt_step(split, 1, steps, device))
        yield [str(steps), f"{mine / 1e6:,.0f}", f"{straight / 1e6:,.0f}"]


def precision_rows(device: torch.device) -> Iterator[list[str]]:
    """The gain from the students' precision alone: a step with the same operations cannot be much faster."""
    spec = AVLETTERS10
    net, plain = random_net(spec, 0, device), naive.fresh(spec, device).requires_grad_(False)
    clips = torch.randn(32, 3, *spec.clip_shape[:3], device=device)
    ours = clips.contiguous(memory_format=torch.channels_last_3d)
    wide = torch.randn(2048, 2048, device=device)

    def product() -> torch.Tensor:
        with autocast(device):
            return wide @ wide

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "product of matrices, 2048 x 2048": (product, lambda: wide @ wide),
        "forward pass of MiniC3D, 32 clips": (lambda: embed(net, ours, device), lambda: plain.embed(clips)),
    }
    for name, (fast, slow) in pairs.items():
        timed(fast, device), timed(slow, device)
        rounds = [(timed(fast, device), timed(slow, device)) for _ in range(ROUNDS)]
        quick, plainly = (median(column) for column in zip(*rounds, strict=True))
        yield [name, f"{quick * 1e3:.1f}", f"{plainly * 1e3:.1f}", f"{plainly / quick:.1f}x"]


def run() -> None:
    """Prints the tables as Markdown. MiniUCF's shape is measured on GPUs only: one step takes minutes on a CPU."""
    device = best_device()
    small = {"per_class": 16, "batch": 128, "inner_steps": 5}
    plans: list[tuple[str, DatasetSpec, dict[str, int]]] = [("10 classes, 8x64x64", AVLETTERS10, small)]
    if device.type == "cuda":
        large = {"per_class": 64, "batch": 512, "inner_steps": 10}
        plans.append(("50 classes, 16x112x112", miniucf.SPEC, large))
    rows: list[list[str]] = []
    with temporary_home(), bar("bench", 4 * len(plans)) as progress:
        for title, spec, sizes in plans:
            split = random_split(spec, 20 * spec.num_classes)
            for case in cases(split, sizes, device):
                row = measure(case, device)
                rows.append([row[0], title, *row[1:]])
                progress.advance()
        split = random_split(AVLETTERS10, 20 * AVLETTERS10.num_classes)
        graphs = list(memory_rows(split, device))
        precisions = list(precision_rows(device))
    print(f"{device_name(device)}, {torch.get_num_threads()} threads; ipc 1; medians of {ROUNDS} steps\n")
    print(tabulate(rows, HEADERS, "github", disable_numparse=True))
    print("\nWhat autograd holds during a step of mtt, MB (10 classes, 8x64x64); mtt: in students' precision, weights apart\n")
    print(tabulate(graphs, ("inner steps", "mtt", "straightforward"), "github", disable_numparse=True))
    print("\nWhat precision and memory layout alone gain, ms: students' against fp32 in PyTorch's own layout\n")
    print(tabulate(precisions, ("10 classes, 8x64x64", "students'", "fp32", "faster"), "github", disable_numparse=True))
