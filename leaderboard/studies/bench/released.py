"""`bench --released`: the referee's training and testing beside the loops of the field's released code, on the same clips.

Those loops are written anew from what is known of SDD's code (arXiv 2312.00362; docs/sdd.md): a DataLoader of clips normalised
one by one, each batch scaled by its own mean and deviation, fp32 in PyTorch's own layout, a loss and answers read at each step.
Both sides read clips from memory: decoding is not timed. On a CPU the figures are CPU seconds: other work disturbs them little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.utils.data import DataLoader, TensorDataset

from vddbench.data.datasets import miniucf, movingshapes
from vddbench.data.store import Split
from vddbench.evaluation.hardware import best_precision, hardware_for
from vddbench.evaluation.predict import probabilities
from vddbench.evaluation.speed import per_step, random_clips, random_split, timed
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import build, train
from vddbench.leaderboard.studies.bench.naive import Clips, fresh, normalised
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.system.allocator import keep_freed_memory
from vddbench.system.device import best_device, device_name
from vddbench.system.progress import bar

TEST_BATCH = 64  # SDD's
ROUNDS, STEPS = 3, 8
HEADERS = ("clip", "part", "referee, ms a clip", "released loop, ms a clip", "times as fast", "range of rounds")


class MirroredClips(Clips):
    """A random clip of each video, mirrored half of the time."""

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        clip, label = super().__getitem__(item)
        return clip.flip(3) if torch.rand(()) < 0.5 else clip, label


def network(spec: DatasetSpec, device: torch.device) -> nn.Module:
    """The released ConvNet3D, which gets its clips scaled."""
    net = fresh(spec, device)
    net.standardise = nn.Identity()
    return net


def scaled(clips: torch.Tensor) -> torch.Tensor:
    """A batch minus its mean, over its standard deviation: two numbers for all of its clips."""
    return (clips - clips.mean()) / clips.std()


def released_training(spec: DatasetSpec, clips: ClipSet, steps: int, device: torch.device) -> None:
    """Each step is a pass over the set, which is one batch here."""
    net = network(spec, device).train()
    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(TensorDataset(normalised(clips.clips, spec), clips.labels), batch_size=256, shuffle=True)
    for _ in range(steps):
        for batch, labels in loader:
            x, y = scaled(batch.to(device)), labels.to(device)
            output = net(x)
            loss = F.cross_entropy(output, y)
            loss.item()
            np.sum(output.detach().cpu().numpy().argmax(1) == labels.numpy())
            sgd.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            sgd.step()


@torch.no_grad()
def released_testing(net: nn.Module, split: Split, device: torch.device) -> None:
    """One pass over the videos."""
    net.eval()
    for batch, labels in DataLoader(MirroredClips(split, split.spec.frames), batch_size=TEST_BATCH):
        output = net(scaled(batch.to(device)))
        F.cross_entropy(output, labels.to(device)).item()
        np.sum(output.cpu().numpy().argmax(1) == labels.numpy())


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds by the clock if the device is a GPU, else CPU seconds of all threads."""
    return time.perf_counter if device.type == "cuda" else time.process_time


def referee(spec: DatasetSpec, clips: int) -> tuple[float, float]:
    """Seconds per clip, of training and of testing. Run it in a process of its own: it changes how the process frees memory."""
    keep_freed_memory()
    device, clipset, split = best_device(), random_clips(spec, clips), random_split(spec, 2 * TEST_BATCH)
    hardware, net = hardware_for(convnet3d, device), build(convnet3d, spec, 0, device).eval()
    clock = clock_of(device)

    def training(steps: int) -> None:
        train(clipset, spec, convnet3d, steps=steps, batch=clips, seed=0, hardware=hardware)

    testing = timed(lambda: probabilities(net, split, device), device, clock)
    return per_step(training, STEPS, device, clock) / clips, testing / len(split)


def released(spec: DatasetSpec, clips: int) -> tuple[float, float]:
    """The same two figures of the released loops."""
    device, clipset, split = best_device(), random_clips(spec, clips), random_split(spec, 2 * TEST_BATCH)
    net = network(spec, device)
    clock = clock_of(device)
    training = per_step(lambda steps: released_training(spec, clipset, steps, device), STEPS, device, clock)
    return training / clips, timed(lambda: released_testing(net, split, device), device, clock) / len(split)


def rows_of(spec: DatasetSpec, ours: np.ndarray, theirs: np.ndarray) -> list[list[str]]:
    """A row for training and one for testing at a shape. ours, theirs: [rounds, 2] seconds."""
    ratios, rows = theirs / ours, []
    for column, part in enumerate((f"training in {best_precision(best_device(), convnet3d)}", "testing in fp32")):
        milliseconds = [f"{1000 * median(side[:, column]):.1f}" for side in (ours, theirs)]
        spread = f"{ratios[:, column].min():.2f} to {ratios[:, column].max():.2f}"
        shape = f"{spec.frames}x{spec.size}x{spec.size}"
        rows.append([shape, part, *milliseconds, f"{median(ratios[:, column]):.2f}", spread])
    return rows


def run(clips: int) -> None:
    """Prints, as Markdown, a row for training and one for testing at each registered clip shape. clips: of the set."""
    shapes, context, rows = (movingshapes.SPEC, miniucf.SPEC), get_context("spawn"), list[list[str]]()
    with (
        ProcessPoolExecutor(1, context) as ours,
        ProcessPoolExecutor(1, context) as theirs,
        bar("bench --released", ROUNDS * len(shapes)) as progress,
    ):
        for spec in shapes:
            rounds = []
            for _ in range(ROUNDS):  # one after the other, so that drift of the machine affects both
                rounds.append((ours.submit(referee, spec, clips).result(), theirs.submit(released, spec, clips).result()))
                progress.advance()
            table = np.array(rounds)  # [rounds, side, part]
            rows += rows_of(spec, table[:, 0], table[:, 1])
    print(
        f"{device_name(best_device())}, {torch.get_num_threads()} threads, sets of {clips} clips; medians of {ROUNDS} rounds\n"
    )
    print(tabulate(rows, HEADERS, "github", disable_numparse=True))
