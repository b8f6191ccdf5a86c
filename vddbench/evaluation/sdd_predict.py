"""A trained student's answers as SDD's released code asks for them: random, mirrored clips in batches sorted by class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.evaluation.hardware import exact_fp32
from vddbench.evaluation.predict import clip_batches
from vddbench.protocol import Sdd
from vddbench.records.predictions import Predictions

Inputs = Callable[[torch.Tensor], torch.Tensor]  # a batch of clips [n, T, H, W, C] on the 0-255 scale -> [n, C, T, H, W]


def predict(
    model: torch.nn.Module,
    split: Split,
    seed: int,
    protocol: Sdd,
    inputs: Inputs,
    on_clips: Callable[[int], None] = lambda clips: None,
) -> Predictions:
    """The answers of every pass over the videos, and those for the centre clips, unmirrored and in the same batches.

    seed: of the student; starts and mirrored clips follow from it. An output that is not finite gives -1, a wrong answer.
    """
    videos, softmax = np.arange(len(split)), []
    for number in range(protocol.passes):
        rng = np.random.default_rng([seed, 2, number])
        random, even = split.random_starts(videos, rng), split.even_starts(protocol.passes)[:, number]
        starts = random if protocol.test_start == "random" else even
        mirrored = rng.random(len(split)) < protocol.test_flip
        softmax.append(probabilities(model, split, starts, mirrored, protocol, inputs, on_clips))
    unmirrored = np.zeros(len(split), bool)
    centre = probabilities(model, split, split.centre_starts(videos), unmirrored, protocol, inputs, on_clips)
    passes = np.stack(softmax, 1)  # [V, passes, K]
    if protocol.score == "mean softmax":
        passes = passes.mean(1, keepdims=True)
    answers = np.argsort(-passes, axis=2, kind="stable")[:, :, :5].astype(np.int32)
    answers[~np.isfinite(passes).all(2)] = -1
    true = passes[videos, :, split.labels].mean(1)
    return Predictions(
        video=split.index["video"].to_numpy(str),
        group=split.index["group"].to_numpy(str),
        label=split.labels.astype(np.int32),
        top5=answers[:, 0],
        true_probability=np.where(np.isfinite(true), true, 0).clip(0, 1).astype(np.float32),
        centre_top1=np.where(np.isfinite(centre).all(1), centre.argmax(1), -1).astype(np.int32),
        later_top5=answers[:, 1:] if answers.shape[1] > 1 else None,
    )


@torch.no_grad()
def probabilities(
    model: torch.nn.Module,
    split: Split,
    starts: np.ndarray,
    mirrored: np.ndarray,
    protocol: Sdd,
    inputs: Inputs,
    on_clips: Callable[[int], None],
) -> np.ndarray:
    """[V, K] softmax, float32, of one clip of each video. starts: int64 [V]. mirrored: bool [V]."""
    out = np.empty((len(split), split.spec.num_classes), np.float32)
    by_class = np.argsort(split.labels, kind="stable")
    order = by_class if protocol.test_order == "class" else np.random.default_rng(0).permutation(len(split))
    done = 0
    model.eval()
    with exact_fp32():
        for padded, count in clip_batches(split, order, starts[order], protocol.test_batch):
            rows, clips = order[done : done + count], padded[:count]  # without padding: it would change the statistics
            mirror = torch.from_numpy(mirrored[rows])[:, None, None, None, None]
            softmax = model(inputs(torch.where(mirror, clips.flip(3), clips))).double().softmax(1)  # 3: the width
            out[rows] = softmax.float().cpu().numpy()
            done += count
            on_clips(count)
    return out


def top5_mode(predictions: Predictions, protocol: Sdd) -> float:
    """What the released code prints in its top-5 mode: the mean of top-1, top-1, top-3 and top-5, unless that is mended."""
    hits = predictions.answers == predictions.label[:, None, None]
    top1, top3, top5 = (float(hits[:, :, :k].any(2).mean()) for k in (1, 3, 5))
    return (top1 + top1 + top3 + top5) / 4 if protocol.top5 == "mixed" else top5
