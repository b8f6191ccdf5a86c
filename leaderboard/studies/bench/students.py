"""`bench`: how fast this machine trains and tests students, and what the referee adds to the bare network.

Figures are medians over rounds that alternate the referee's own code with a bare loop of the same network, precision and
batch, so that drift of the machine affects both.
"""

from __future__ import annotations

import torch
from tabulate import tabulate

from vddbench.data.datasets import miniucf, movingshapes
from vddbench.evaluation.hardware import best_precision
from vddbench.evaluation.speed import ROUNDS, Speed, measure
from vddbench.evaluation.students import StudentModule, convnet3d
from vddbench.lookup import load
from vddbench.protocol import PROTOCOL
from vddbench.spec import DatasetSpec, Task
from vddbench.system.device import best_device, device_name
from vddbench.system.progress import bar

SHAPES = (movingshapes.SPEC, miniucf.SPEC)  # 8x64x64 and 16x112x112: every registered clip shape
HEADERS = (
    "student", "clip", "training in", "train clips/s", "TFLOP/s", "referee adds",
    "test clips/s", "referee adds", "MiniUCF ipc1",
)  # fmt: skip


def miniucf_seconds(speed: Speed) -> float:
    """Projected seconds of one student and seed on MiniUCF ipc1: training, then all views of test and validation videos."""
    task, spec = Task(dataset="miniucf", ipc=1), miniucf.SPEC
    assert spec.num_videos is not None
    train_clips = task.student_steps(spec) * task.batch_size(spec, spec.num_classes, convnet3d.RECIPE)
    num_validation = sum(video.group in spec.validation_groups for video in miniucf.listing(None))
    return train_clips * speed.train + (spec.num_videos["test"] + num_validation) * PROTOCOL.test_views * speed.test


def row(name: str, student: StudentModule, spec: DatasetSpec, batch: int, device: torch.device) -> list[str]:
    """One student's row of HEADERS at one clip shape."""
    speed = measure(student, spec, batch, device)
    return [
        name,
        f"{spec.frames}x{spec.size}x{spec.size}",
        best_precision(device, student),
        f"{1 / speed.train:.1f}",
        f"{speed.gflop / speed.train / 1e3:.3f}",
        f"{speed.train / speed.bare_train - 1:+.1%}",
        f"{1 / speed.test:.1f}",
        f"{speed.test / speed.bare_test - 1:+.1%}",
        f"{miniucf_seconds(speed) / 60:.0f} min" if spec is miniucf.SPEC else "-",
    ]


def run(students: list[str], batch: int) -> None:
    """Prints one row per student and shape, as Markdown. Testing is always in fp32."""
    device = best_device()
    rows = []
    modules = {name: load("student", name) for name in students}
    with bar("bench", len(modules) * len(SHAPES)) as progress:
        for name, module in modules.items():
            for spec in SHAPES:
                rows.append(row(name, module, spec, batch, device))
                progress.advance()
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, batch {batch}; medians of {ROUNDS} rounds\n")
    print(tabulate(rows, HEADERS, "github", disable_numparse=True))
