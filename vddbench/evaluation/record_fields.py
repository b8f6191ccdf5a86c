"""The fields of a record besides its scores: which submission was evaluated, under which conditions, and where."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vddbench import __version__
from vddbench.data.store import Store
from vddbench.evaluation.sdd import learned_lr
from vddbench.evaluation.train import Trained
from vddbench.lookup import load
from vddbench.protocol import PROTOCOL, Protocol, Sdd
from vddbench.records.record import Environment, Record
from vddbench.spec import Manifest
from vddbench.system.device import device_name, git_commit

if TYPE_CHECKING:
    from vddbench.evaluation.ready import ReadySubmission


def identity(
    manifest: Manifest, store_digest: str, student: str, seed: int, protocol: Protocol | Sdd = PROTOCOL
) -> dict[str, Any]:
    """The fields that say what was evaluated under which protocol. All records of one cell agree in them."""
    recipe = load("student", student).RECIPE
    replayed = {"epochs": protocol.epochs, "student_lr": learned_lr(manifest) or recipe.lr} if isinstance(protocol, Sdd) else {}
    return {
        "protocol": protocol.name,
        "protocol_hash": protocol.hash(recipe),
        "task": manifest.task,
        "method": manifest.method,
        "distill_seed": manifest.seed,
        "track": manifest.labels,
        "external": bool(manifest.external_data),
        "holdout": manifest.holdout,
        "submission_sha256": manifest.sha256,
        "store_digest": store_digest,
        "student": student,
        "seed": seed,
        **replayed,
    }


def check_same(path: Path, record: Record, expected: dict[str, Any]) -> None:
    """Raises ValueError if the record at `path` has another `identity` than expected."""
    different = [
        f"{name} {str(getattr(record, name))[:16]} (now {str(value)[:16]})"
        for name, value in expected.items()
        if getattr(record, name) != value
    ]
    if different:
        raise ValueError(
            f"{path} was made under other conditions: {', '.join(different)}; use another --results folder, or restore the "
            "submission, the prepared store and the version of vddbench that it was made with"
        )


def measured(scored: ReadySubmission, student: str) -> dict[str, Any]:
    """The fields that follow from the submission and the prepared store alone, before anything is trained."""
    spec, referee = scored.store.spec, scored.referee(student)
    return {
        "title": scored.submission.manifest.title,
        "num_test": len(scored.store.test),
        "num_missing": scored.store.num_missing,
        "student_steps": referee.steps,
        "num_classes": spec.num_classes,
        "payload_bytes": scored.submission.payload_bytes,
        "budget_bytes": scored.task.budget_bytes(spec),
        "clips_per_class": len(scored.clipset) / spec.num_classes,
        "clip_steps": referee.clip_steps,
    }


def tested_videos(store: Store) -> dict[str, np.ndarray]:
    """The fields of predictions that follow from the store alone, independent of a student's answers."""
    test = store.test
    return {"video": test.index["video"].to_numpy(str), "group": test.index["group"].to_numpy(str), "label": test.labels}


def environment(trained: Trained, device: torch.device) -> Environment:
    return Environment(
        vddbench=__version__,
        git_commit=git_commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=(torch.version.cuda or "") if device.type == "cuda" else "",
        device=device_name(device),
        num_threads=torch.get_num_threads(),
        precision=trained.precision,
        micro_batch=trained.micro_batch,
    )
