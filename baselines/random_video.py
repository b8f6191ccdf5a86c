"""Random real clips behind a plain video codec, AV1: what a method has to beat at equal bytes. No paper reports it.

Presets use a tenth and a hundredth of the budget, so that accuracy against bytes has a curve. Rounds of one clip per class are
added until a round would exceed the bytes: each train video once, in random order, then further starts of the videos. The
quality (crf) is chosen from a small grid, by validation top-1 of a student that is trained on clips of the other train videos.
The submitted clips are then drawn from all train videos. The test split is not read.

Encoded rounds and students' scores are cached under `$VDDBENCH_HOME`, at most two budgets of bytes for each crf, so that an
interrupted run continues and presets share their work. With one version of PyAV a set has the same bytes in every run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.data.workers import num_cores
from vddbench.distillation.cached_work import Fresh, Work, cost_of, do_once, work_path
from vddbench.distillation.contract import About, CannotServe, Distilled
from vddbench.distillation.coresets import ipc_of, tuning_splits
from vddbench.evaluation.hardware import best_precision
from vddbench.evaluation.predict import top1_on
from vddbench.evaluation.students import convnet3d
from vddbench.protocol import PROTOCOL
from vddbench.spec import Task
from vddbench.submissions import payload
from vddbench.submissions.decoders import video
from vddbench.system.device import best_device
from vddbench.system.progress import bar, say

DECODER = "video"
PAPER = ""
ABOUT = About(family="reference", clips_per_slot=None)
OFFSET_BYTES = 4  # int32, which counts towards the budget
FORMAT = 1  # version of the cached files


@dataclass(frozen=True)
class Config:
    share: float = 1.0  # of the task's budget
    crfs: str = "30,45,60"  # of AV1, to choose from; ours. On UCF101 clips of 16x112x112: 35, 31 and 27 dB
    tuning_seed: int = 0  # of the students with which crf is chosen


PRESETS = {"tenth": Config(share=0.1), "hundredth": Config(share=0.01)}


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A payload, which is empty if not one round of clips fits, and what was encoded for it."""

    tensors: dict[str, torch.Tensor]
    clips_per_class: int
    encoded: list[Work]  # the rounds of the payload, and the first that no longer fits


def distill(train: Split, task: Task, config: Config, rng: np.random.Generator) -> Distilled:
    """`video`: stream [B], offsets [N+1], labels [N]: the same number of clips in every class, within the bytes."""
    ipc_of(task, "random_video")
    budget = int(config.share * (task.budget_bytes(train.spec) or 0))
    tuned, refused = tune(train, task, budget, [int(crf) for crf in config.crfs.split(",")], config.tuning_seed)
    seed = int(rng.integers(2**63))  # the same clips at every crf
    for crf in sorted(tuned, key=lambda crf: (float(tuned[crf].tensor[0]), crf), reverse=True):
        filled = fill(train, budget, crf, seed)
        if filled.clips_per_class:
            cost = cost_of("encoding", *refused, *filled.encoded) | cost_of("tuning", *tuned.values())
            return Distilled(tensors=filled.tensors, chosen={"crf": crf, **cost})
        refused += filled.encoded
    raise CannotServe(
        f"{task}: not even one clip per class fits {budget:,} bytes ({config.share:g} of the budget) at crf {config.crfs}; use "
        "a larger share: --preset tenth, or no preset for the whole budget"
    )


def tune(train: Split, task: Task, budget: int, grid: list[int], seed: int) -> tuple[dict[int, Work], list[Work]]:
    """(validation top-1 for each crf at which at least one round of clips fits, what was encoded for the others)."""
    fit, validation = tuning_splits(train)
    scores, refused = dict[int, Work](), list[Work]()
    for crf in grid:
        filled = fill(fit, budget, crf, seed)
        if not filled.clips_per_class:
            refused += filled.encoded
            say(f"  crf {crf}: not even one clip per class fits {budget:,} bytes")
            continue
        scores[crf] = score(filled, validation, task, seed, f"crf {crf}")
        say(f"  crf {crf}: {filled.clips_per_class} clips per class, validation top-1 {float(scores[crf].tensor[0]):.1%}")
    return scores, refused


def score(filled: Filled, validation: Split, task: Task, seed: int, about: str) -> Work:
    """Top-1 of a student that is trained on a payload, as a tensor [1]. Cached."""
    encoding = cost_of("encoding", *filled.encoded)

    def make() -> Fresh:
        started = time.monotonic()
        top1 = top1_on(validation, video.decode(filled.tensors, validation.spec), task, convnet3d, seed, about)
        seconds = time.monotonic() - started + float(encoding["encoding_seconds"] or 0)
        return Fresh(torch.tensor([top1], dtype=torch.float64), seconds, int(encoding["encoding_clips_read"] or 0))

    device = best_device()
    student = [PROTOCOL.hash(convnet3d.RECIPE), seed, device.type, best_precision(device, convnet3d)]
    depends_on = [FORMAT, validation.digest, str(task), student, payload.sha256(filled.tensors)]
    return do_once(work_path("tuned", validation.dataset, depends_on), "score", make)


def fill(train: Split, budget: int, crf: int, seed: int) -> Filled:
    """Rounds of clips until a round would exceed `budget` bytes."""
    num_classes = train.spec.num_classes
    labels = torch.arange(num_classes, dtype=torch.uint8 if num_classes <= 256 else torch.int16)
    works, parts, spent = list[Work](), list[dict[str, torch.Tensor]](), OFFSET_BYTES  # the last offset
    with bar(f"encoding clips of {train.dataset} at crf {crf}, in bytes", budget) as progress:
        for rows, starts in draw(train, np.random.default_rng(seed)):
            works.append(work := encoded(train, rows, starts, crf))
            part = unpacked(work.tensor[:], num_classes)
            cost = part["stream"].numel() + num_classes * (OFFSET_BYTES + labels.element_size())
            if spent + cost > budget:
                break
            spent += cost
            parts.append(part)
            progress.advance(cost)
    if not parts:
        return Filled(tensors={}, clips_per_class=0, encoded=works)
    lengths = torch.cat([part["offsets"].diff() for part in parts])
    tensors = {
        "stream": torch.cat([part["stream"] for part in parts]),
        "offsets": torch.cat([torch.zeros(1, dtype=torch.int32), lengths.cumsum(0, dtype=torch.int32)]),
        "labels": labels.repeat(len(parts)),
    }
    return Filled(tensors=tensors, clips_per_class=len(parts), encoded=works)


def draw(train: Split, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows [K], starts [K]) of rounds of one clip per class. No clip comes twice; ends with the class of fewest clips."""

    def clips_of(rows: np.ndarray, starts: list[np.ndarray]) -> Iterator[tuple[int, int]]:
        for turn in range(max(map(len, starts))):
            yield from ((row, int(own[turn])) for row, own in zip(rows.tolist(), starts, strict=True) if turn < len(own))

    classes = []
    for label in range(train.spec.num_classes):
        rows = rng.permutation(np.flatnonzero(train.labels == label))
        classes.append(clips_of(rows, [rng.permutation(last + 1) for last in train.last_starts[rows]]))
    for clips in zip(*classes, strict=False):
        rows, starts = np.array(clips).T
        yield rows, starts


def encoded(train: Split, rows: np.ndarray, starts: np.ndarray, crf: int) -> Work:
    """The offsets and streams of these clips as bytes, one after the other. Cached."""

    def make() -> Fresh:
        started = time.monotonic()
        tensors = video.encode(train.clips(rows, starts), "av1", crf, threads=num_cores())
        packed = torch.cat([tensors["offsets"].to(torch.int32).view(torch.uint8), tensors["stream"]])
        return Fresh(packed, time.monotonic() - started, len(rows))

    videos = train.index["video"].iloc[rows].tolist()
    depends_on = [FORMAT, train.digest, version("av"), videos, starts.tolist(), crf]
    return do_once(work_path("encoded", train.dataset, depends_on), "encoded clips", make)


def unpacked(packed: torch.Tensor, num_clips: int) -> dict[str, torch.Tensor]:
    """`offsets` [n+1] and `stream` of what `encoded` made."""
    end = OFFSET_BYTES * (num_clips + 1)
    return {"offsets": packed[:end].view(torch.int32), "stream": packed[end:]}
