"""`bench --gpu`: speed of the referee and of two distillers on a GPU, as one table for docs/speed.md.

Sections run one after the other. One that fails becomes a row that says why, and the next one runs; one that would begin after
SECONDS is left out, which its row says. Random pixels stand in for a dataset. TOY rehearses all sections on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from math import ceil
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from vddbench.baselines import dm, mtt
from vddbench.data.datasets import miniucf, movingshapes
from vddbench.data.store import Split
from vddbench.distillation.contract import Learner
from vddbench.evaluation.hardware import Hardware, best_precision, exact_fp32
from vddbench.evaluation.predict import TEST_BATCH, probabilities
from vddbench.evaluation.speed import bare_answers, bare_steps, first_steps, per_step, random_clips, random_split, timed
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import build, optimiser, to_input, train
from vddbench.leaderboard.studies.bench.distillers import small_mtt
from vddbench.leaderboard.studies.bench.released import network, released_testing, released_training
from vddbench.protocol import PROTOCOL
from vddbench.spec import DatasetSpec, Task
from vddbench.system.device import device_name, forget_peak_memory, peak_memory_bytes
from vddbench.system.home import temporary_home
from vddbench.system.progress import say

SECONDS = 300.0  # no section begins later; the longest takes less than a minute on an H100, by estimate
STEP_BY_STEP: Any = SimpleNamespace(RECIPE=convnet3d.RECIPE, BF16=True, GRAPH=False, build=convnet3d.build)
LEAST_SECONDS = 1e-5  # of a step; a difference of two timings may be smaller by chance
FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
Row = tuple[str, str]  # what was measured, and the result


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    shapes: tuple[tuple[DatasetSpec, int], ...]  # each with the clips of a training step
    large: DatasetSpec  # of the student from start to end, and of the distillers
    test_videos: int  # of `large`
    validation_videos: int
    steps: int  # of the student from start to end
    timed_steps: int  # of each timing of training, at least
    round_seconds: float  # that its steps should take
    test_clips: int  # of each timing of testing; a multiple of TEST_BATCH
    real_per_class: int  # of dm
    inner_steps: int  # of mtt
    rounds: int  # iterations of a distiller


FULL = Sizes(
    shapes=((movingshapes.SPEC, 50), (miniucf.SPEC, 50)), large=miniucf.SPEC, test_videos=1861, validation_videos=1017,
    steps=500, timed_steps=60, round_seconds=1.0, test_clips=16 * TEST_BATCH,
    real_per_class=64, inner_steps=10, rounds=5,
)  # fmt: skip
SMALL = movingshapes.SPEC.model_copy(update={"size": 44, "class_names": ("A", "B")})
TOY = Sizes(
    shapes=((SMALL, 2),), large=SMALL, test_videos=4, validation_videos=2,
    steps=2, timed_steps=1, round_seconds=0.0, test_clips=2, real_per_class=1, inner_steps=1, rounds=1,
)  # fmt: skip


class Bench:
    """The sections, on one device."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self.sizes, self.device = sizes, device
        self.hardware = Hardware(device=device, precision=best_precision(device, convnet3d))
        self.test_batch = min(TEST_BATCH, sizes.test_clips)

    @cached_property
    def videos(self) -> Split:
        return random_split(self.sizes.large, self.sizes.test_videos, self.sizes.large.frames + PROTOCOL.test_views - 1)

    def agreement(self) -> Iterator[Row]:
        """The same student on CPU and GPU, and of a graph and of single steps."""
        spec, batch = self.sizes.shapes[-1]
        clips, cpu = random_clips(spec, batch), torch.device("cpu")
        few = random_split(spec, self.test_batch)
        ieee = Hardware(device=self.device, precision="fp32")
        model = train(clips, spec, convnet3d, steps=self.sizes.timed_steps, batch=batch, seed=0, hardware=ieee).model
        there, _ = probabilities(model, few, self.device, batch=self.test_batch)
        half, _ = probabilities(model, few, self.device, batch=self.test_batch, precision="bf16")
        here, _ = probabilities(model.to(cpu), few, cpu, batch=self.test_batch)
        yield f"one student on {len(few)} videos, fp32, GPU against CPU", differences(there, here)
        yield f"one student on {len(few)} videos, bf16 against fp32 on the GPU", differences(half, there)
        steps = first_steps(self.device)
        for precision in ("fp32", "bf16"):
            arithmetic = Hardware(device=self.device, precision=precision)
            graph, single, again = (
                weights(train(clips, spec, student, steps=steps, batch=batch, seed=0, hardware=arithmetic).model)
                for student in (convnet3d, STEP_BY_STEP, STEP_BY_STEP)
            )
            text = (
                f"{float((graph - single).norm() / single.norm()):.1e}; single steps twice {float((again - single).norm()):.1e}"
            )
            yield f"weights after {steps} steps in {precision}, graph against single steps, relative", text

    def training(self) -> Iterator[Row]:
        """Clips/s of training steps."""
        for spec, batch in self.sizes.shapes:
            clips = random_clips(spec, batch)
            model = build(convnet3d, spec, 0, self.device).train()
            x, labels = to_input(clips.clips, spec, self.device), clips.labels.to(self.device)
            sgd = optimiser(model, convnet3d.RECIPE)

            def referee(steps: int, student: Any, clips: Any = clips, spec: DatasetSpec = spec, batch: int = batch) -> None:
                train(clips, spec, student, steps=steps, batch=batch, seed=0, hardware=self.hardware)

            arms: dict[str, Callable[[int], None]] = {
                "one graph a step": lambda steps, run=referee: run(steps, convnet3d),  # type: ignore[misc]
                "single kernels": lambda steps, run=referee: run(steps, STEP_BY_STEP),  # type: ignore[misc]
                "bare network": partial(bare_steps, model, x, labels, sgd, self.hardware.precision),
                "released loop": lambda steps, spec=spec, clips=clips: released_training(spec, clips, steps, self.device),  # type: ignore[misc]
            }
            rates = {name: batch / self.per_step(run) for name, run in arms.items()}
            yield f"training {shape(spec)}, {batch} clips a step, clips/s", listed(rates)

    def per_step(self, run: Callable[[int], None]) -> float:
        """Seconds of a step without the costs of a training. The timed steps take about a second."""
        run(first_steps(self.device))  # loads kernels
        rough = max(per_step(run, self.sizes.timed_steps, self.device), LEAST_SECONDS)
        steps = max(self.sizes.timed_steps, ceil(self.sizes.round_seconds / rough))
        return max(per_step(run, steps, self.device), LEAST_SECONDS)

    def testing(self) -> Iterator[Row]:
        """Clips/s of testing."""
        for spec, _ in self.sizes.shapes:
            split = random_split(spec, self.sizes.test_clips)
            model, plain = build(convnet3d, spec, 0, self.device).eval(), network(spec, self.device)
            x = to_input(random_clips(spec, self.test_batch).clips, spec, self.device)

            def referee(precision: Any, model: Any = model, split: Split = split) -> None:
                probabilities(model, split, self.device, batch=self.test_batch, precision=precision)

            arms: dict[str, Callable[[], None]] = {
                "referee": lambda run=referee: run("fp32"),  # type: ignore[misc]
                "bare network": partial(bare_answers, model, x, self.sizes.test_clips // self.test_batch),
                "in bf16": lambda run=referee: run("bf16"),  # type: ignore[misc]
                "released loop": lambda plain=plain, split=split: released_testing(plain, split, self.device),  # type: ignore[misc]
            }
            rates = {}
            for name, run in arms.items():
                run()
                rates[name] = self.sizes.test_clips / timed(run, self.device)
            yield f"testing {shape(spec)} in fp32, clips/s", listed(rates)

    def student(self) -> Iterator[Row]:
        """A student from start to end, as `evaluate` trains and tests it."""
        spec, sizes = self.sizes.large, self.sizes
        videos, batch = self.videos, spec.num_classes
        forget_peak_memory(self.device)
        started = time.perf_counter()
        trained = train(
            random_clips(spec, batch), spec, convnet3d, steps=sizes.steps, batch=batch, seed=0, hardware=self.hardware
        )
        training = time.perf_counter() - started
        probabilities(trained.model, videos, self.device, batch=self.test_batch)
        probabilities(
            trained.model, videos.only(np.arange(len(videos)) < sizes.validation_videos), self.device, batch=self.test_batch
        )
        testing = time.perf_counter() - started - training
        views = PROTOCOL.test_views * (sizes.test_videos + sizes.validation_videos)
        what = f"student {shape(spec)}: {sizes.steps} steps of {batch} clips, {views:,} test clips"
        yield what, f"{training + testing:.1f} s: training {training:.1f}, testing {testing:.1f}; {self.gigabytes()}"

    def distillers(self) -> Iterator[Row]:
        """Iterations/s and memory of dm and mtt as published, at 1 clip per class."""
        task, per_class, inner = Task(dataset="bench", ipc=1), self.sizes.real_per_class, self.sizes.inner_steps
        makes: dict[str, Callable[[], Learner]] = {
            f"dm, {per_class} real clips per class": lambda: dm.learner(
                self.videos, task, dm.Config(real_per_class=per_class), 0, self.device
            ),
            f"mtt, {inner} inner steps": lambda: mtt.learner(self.videos, task, small_mtt(inner), 0, self.device),
        }
        for name, make in makes.items():
            with temporary_home():
                learner, number = make(), count()
                forget_peak_memory(self.device)

                def step(learner: Learner = learner, number: Iterator[int] = number) -> None:
                    with exact_fp32():
                        learner.step(next(number))

                timed(step, self.device)
                before, began = learner.real.waited_seconds, time.perf_counter()
                seconds = median(timed(step, self.device) for _ in range(self.sizes.rounds))
                waited = (learner.real.waited_seconds - before) / (time.perf_counter() - began)
            text = f"{1 / seconds:.3g} iterations/s, {waited:.0%} of the time waiting for clips; {self.gigabytes()}"
            yield f"{name}, {self.sizes.large.num_classes} classes of {shape(self.sizes.large)}", text

    def gigabytes(self) -> str:
        return f"{peak_memory_bytes(self.device) / 1e9:.1f} GB at most"


def measured(sizes: Sizes, device: torch.device, seconds: float = SECONDS) -> Iterator[Row]:
    """The rows of all sections, each as soon as it is known."""
    bench, started = Bench(sizes, device), time.monotonic()
    for section in (bench.agreement, bench.training, bench.testing, bench.student, bench.distillers):
        if time.monotonic() - started > seconds:
            yield section.__name__, f"left out: {seconds:.0f} s were over"
            continue
        try:
            yield from section()
        except FAILURES as error:  # the other sections are worth their minutes of GPU
            yield section.__name__, f"FAILED: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        if device.type == "cuda":
            torch.cuda.empty_cache()


def run(rehearse: bool) -> None:
    """Prints the table as Markdown, and each row on stderr as soon as it is known.

    rehearse: TOY on the CPU. Raises LookupError without a GPU.
    """
    if not rehearse and not torch.cuda.is_available():
        raise LookupError("bench --gpu needs a GPU that PyTorch can use; --rehearse runs the same code on the CPU at toy sizes")
    device, rows = torch.device("cpu" if rehearse else "cuda:0"), []
    for row in measured(TOY if rehearse else FULL, device):
        say(f"{row[0]}: {row[1]}")
        rows.append(row)
    print(f"{device_name(device)}, PyTorch {torch.__version__}\n")
    print(tabulate(rows, ("measured", "result"), "github", disable_numparse=True))


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().double().flatten().cpu() for weight in model.parameters()])


def differences(ours: np.ndarray, reference: np.ndarray) -> str:
    """How far two [V, K] tables of probabilities differ."""
    flipped = int((ours.argmax(1) != reference.argmax(1)).sum())
    return f"probabilities differ by at most {np.abs(ours - reference).max():.1e}; other top-1 answers: {flipped}"


def shape(spec: DatasetSpec) -> str:
    return f"{spec.frames}x{spec.size}x{spec.size}"


def listed(rates: dict[str, float]) -> str:
    return ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
