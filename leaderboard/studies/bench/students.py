"""`bench`: how fast this machine trains and tests students, and what the referee adds to the bare network.

Figures are medians over rounds that alternate the referee's own code with a bare loop of the same network, precision and
batch, so that drift of the machine affects both.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import torch
from tabulate import tabulate

from vddbench.data.datasets import miniucf, movingshapes
from vddbench.evaluation.hardware import best_precision
from vddbench.evaluation.speed import ROUNDS, Speed, measure
from vddbench.evaluation.students import convnet3d
from vddbench.lookup import load
from vddbench.protocol import PROTOCOL
from vddbench.spec import DatasetSpec, Task
from vddbench.system.device import best_device, device_name, peak_memory_bytes
from vddbench.system.progress import bar

SHAPES = (movingshapes.SPEC, miniucf.SPEC)  # 8x64x64 and 16x112x112: every registered clip shape
HEADERS = (
    "student", "clip", "training in", "train clips/s", "TFLOP/s", "referee adds",
    "test clips/s", "referee adds", "memory", "MiniUCF ipc1",
)  # fmt: skip


def miniucf_seconds(speed: Speed) -> float:
    """Projected seconds of one student and seed on MiniUCF ipc1: training, then all views of test and validation videos."""
    task, spec = Task(dataset="miniucf", ipc=1), miniucf.SPEC
    assert spec.num_videos is not None
    train_clips = task.student_steps(spec) * task.batch_size(spec, spec.num_classes, convnet3d.RECIPE)
    num_validation = sum(video.group in spec.validation_groups for video in miniucf.listing(None))
    return train_clips * speed.train + (spec.num_videos["test"] + num_validation) * PROTOCOL.test_views * speed.test


def row(name: str, spec: DatasetSpec, batch: int) -> list[str]:
    """One student's row of HEADERS at one clip shape. The memory is that of this process, which should do nothing else."""
    student, device = load("student", name), best_device()
    speed = measure(student, spec, batch, device)
    return [
        name,
        f"{spec.frames}x{spec.size}x{spec.size}",
        best_precision(device, student),
        f"{1 / speed.train:.3g}",
        f"{speed.gflop / speed.train / 1e3:.3f}",
        f"{speed.train / speed.bare_train - 1:+.1%}",
        f"{1 / speed.test:.3g}",
        f"{speed.test / speed.bare_test - 1:+.1%}",
        f"{peak_memory_bytes(device) / 1e9:.1f} GB",
        f"{miniucf_seconds(speed) / 60:.0f} min" if spec == miniucf.SPEC else "-",
    ]


def run(students: list[str], batch: int) -> None:
    """Prints one row per student and shape, as Markdown. Testing is always in fp32."""
    for name in students:
        load("student", name)  # unknown names are refused before anything is measured
    rows = []
    own_process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    try:
        with own_process, bar("bench", len(students) * len(SHAPES)) as progress:
            for name in students:
                for spec in SHAPES:
                    rows.append(own_process.submit(row, name, spec, batch).result())
                    progress.advance()
    finally:  # Ctrl-C keeps the rows measured so far
        print(f"{device_name(best_device())}, {torch.get_num_threads()} threads, batch {batch}; medians of {ROUNDS} rounds\n")
        print(tabulate(rows, HEADERS, "github", disable_numparse=True))
