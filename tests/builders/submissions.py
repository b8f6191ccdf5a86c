"""A made-up dataset of 3 classes with clips of 4 frames at 16 x 16, small enough for tests of submissions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vddbench.spec import DatasetSpec, Manifest, Task
from vddbench.submissions.manifest import DATA, MANIFEST, UNMEASURED, readable_errors
from vddbench.submissions.payload import chunks
from vddbench.submissions.tensors import label_track
from vddbench.submissions.write import write

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


def written(
    root: Path,
    tensors: Mapping[str, torch.Tensor] | None = None,
    *,
    spec: DatasetSpec = SPEC,
    force: bool = False,
    **fields: Any,
) -> Path:
    """A submission written to `root`. fields: of its manifest, where they are not those of a set of plain clips."""
    tensors = pixel_tensors() if tensors is None else tensors
    defaults = {"method": "mine", "task": str(TASK), "decoder": "pixels", "labels": label_track(tensors), "sha256": UNMEASURED}
    with readable_errors():
        draft = Manifest(**{**defaults, **fields})
    return write(root, tensors, draft, spec=spec, force=force)


def rewrite_payload(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Other tensors under an unchanged manifest."""
    (folder / DATA).write_bytes(b"".join(chunks(tensors)))


def edit_manifest(folder: Path, **fields: Any) -> None:
    """Changes fields of a manifest and checks nothing."""
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def all_files(root: Path) -> list[str]:
    """The paths of all files below a folder."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
