"""Whether a trained student fits the set it was trained on. A student that does not has learned little from any set.

Measured after the last training step and before the test, in eval mode and without random numbers, so that it changes neither
the student nor its answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.evaluation.hardware import exact_fp32
from vddbench.evaluation.train import to_input
from vddbench.spec import ClipSet, DatasetSpec

MOST_CLIPS = 1024  # a fifth of the clips that one test of MiniUCF takes; DATASET-full has thousands of clips
BATCH = 64  # clips in one forward pass
LARGEST_LOSS = 1e12  # of a record


class Fit(NamedTuple):
    """A student's answers for its own set. None: its outputs were not finite."""

    top1: float  # share of clips whose largest output is their label, or has the largest probability of soft labels
    loss: float | None  # mean cross-entropy; with soft labels the smallest possible value is their mean entropy


@torch.no_grad()
def measure(
    model: torch.nn.Module,
    clipset: ClipSet,
    spec: DatasetSpec,
    device: torch.device,
    inputs: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Fit:
    """Accuracy and mean loss of a trained student on its own clips, in fp32.

    Uses all clips, or MOST_CLIPS of a larger set, drawn with a fixed seed. inputs: what the network sees of a batch of clips,
    if another protocol than v3 trained it.
    """
    rows = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(clipset))[:MOST_CLIPS]))
    num_right, loss = 0, 0.0
    model.eval()
    with exact_fp32():
        for part in torch.split(rows, BATCH):
            labels = clipset.labels[part]
            clips = clipset.clips[part]
            logits = model(inputs(clips) if inputs else to_input(clips, spec, device)).float().cpu()
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            num_right += int((_is_right(logits, labels) & logits.isfinite().all(1)).sum())
    mean = loss / len(rows)
    return Fit(num_right / len(rows), mean if mean <= LARGEST_LOSS else None)  # NaN is not smaller


def _is_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[N] bool. With soft labels every class of the largest probability is right."""
    answers = logits.argmax(1)
    if labels.ndim == 1:
        return answers == labels
    return labels.gather(1, answers[:, None])[:, 0] == labels.amax(1)
