"""A made-up dataset of 3 classes with clips of 4 frames at 16 x 16, small enough for tests of submissions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vddbench.spec import DatasetSpec, Task
from vddbench.submissions import submission

SPEC = DatasetSpec(
    class_names=("ant", "bee", "cat"),
    frames=4,
    size=16,
    stride=1,
    resize=None,
    hflip_keeps_label=True,
    num_videos=None,
    validation_groups=(),
    student_steps={"1": 2, "5": 2, "10": 2, "full": 2},
    source="made up",
    licence="none",
)
TASK = Task(dataset="tiny", ipc=1)
BUDGET_BYTES = 3 * (4 * 16 * 16 * 3 + 8)
LABELS = torch.tensor([0, 1, 2])


def clips(num_clips: int = 3, seed: int = 0) -> torch.Tensor:
    """[N, 4, 16, 16, 3] uint8 noise."""
    shape = (num_clips, *SPEC.clip_shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def pixel_tensors() -> dict[str, torch.Tensor]:
    return {"clips": clips(), "labels": LABELS}


def written(root: Path, tensors: Mapping[str, torch.Tensor] | None = None, method: str = "mine") -> Path:
    """A valid submission in `root`."""
    return submission.write(root, tensors or pixel_tensors(), method=method, task=str(TASK), decoder="pixels", spec=SPEC)


def edit_manifest(folder: Path, **fields: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def all_files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
