"""Motion probes: what a student scores when the order of frames is lost, in the test videos or in the set it is trained on.

A set that teaches only appearance loses nothing. The probes of test videos are further tests of the same trained student, after
its score is final. A student that is trained on changed clips is recorded as a row of its own, METHOD_frozen or
METHOD_shuffled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.evaluation.predict import predict
from vddbench.records.record import Change
from vddbench.spec import NAME_PATTERN, ClipSet, Manifest

SHUFFLE_SEED = 0


def frame_orders(num_frames: int) -> dict[str, np.ndarray]:
    """Record field -> the frames [T] that replace those of a test clip. One order, from a fixed seed, shuffles all clips."""
    return {
        "shuffled_top1": np.random.default_rng(SHUFFLE_SEED).permutation(num_frames),
        "reversed_top1": np.arange(num_frames)[::-1].copy(),
        "still_top1": np.full(num_frames, num_frames // 2),
    }


def probe(
    model: torch.nn.Module, test: Split, device: torch.device, on_clips: Callable[[int], None] = lambda clips: None
) -> dict[str, float]:
    """The top-1 of a trained student on test videos with changed frames, by record field."""
    orders = frame_orders(test.spec.frames)
    return {
        field: predict(model, test, device, on_clips, frames=torch.from_numpy(order)).scores()["top1"]
        for field, order in orders.items()
    }


def checked_change(text: str | None) -> Change | None:
    """Raises LookupError if the text names no change of frames."""
    for change in get_args(Change):
        if text == change:
            return change  # type: ignore[no-any-return]
    if text is not None:
        raise LookupError(f"frames {text[:40]!r}: allowed are {' and '.join(get_args(Change))}")
    return None


def renamed(manifest: Manifest, change: Change) -> Manifest:
    """The manifest under the name of the changed set. Raises ValueError if that name is too long."""
    name = f"{manifest.method}_{change}"
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(
            f"{name!r} is too long for the name of a row: at most 40 characters; copy the set under a shorter name"
        )
    return manifest.model_copy(update={"method": name})


def changed_clips(clipset: ClipSet, change: Change) -> ClipSet:
    """Every clip with its middle frame repeated, or with its frames in the fixed order of the probe."""
    orders = frame_orders(clipset.clips.shape[1])
    order = orders["still_top1"] if change == "frozen" else orders["shuffled_top1"]
    return replace(clipset, clips=clipset.clips[:, torch.from_numpy(order)])
