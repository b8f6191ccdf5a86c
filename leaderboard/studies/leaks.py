"""`leaks`: calibrates the search for test videos in submissions: false alarms on honest sets, detection by disguise, seconds.

A set has one clip per class. A set of train clips is honest, whatever was done to it; a set of test clips is a leak. Sets of
methods are honest too: give their folders. docs/leaks.md explains the results.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from vddbench.data.nearest import FRAMES, candidates, nearest
from vddbench.data.store import Split, Store
from vddbench.data.thumbnails import VERSION as THUMBNAILS
from vddbench.data.thumbnails import make_thumbnails
from vddbench.evaluation.ready import open_ready
from vddbench.leaderboard.studies.rows import Row, Rows
from vddbench.submissions.leaks import MOST_CLIPS, Scan, scan
from vddbench.system.progress import say

Clips = np.ndarray  # [N, T, H, W, 3] on the 0-255 scale
Disguise = Callable[[Clips, np.random.Generator], Clips]
MINIUCF_VIDEOS, FRAMES_A_VIDEO = 6_523, 47  # UCF101's videos have 186 frames on average, of which every fourth is stored


def each_frame(clips: Clips, change: Callable[[Image.Image], Image.Image]) -> Clips:
    frames = clips.reshape(-1, *clips.shape[2:])
    return np.asarray(np.stack([np.asarray(change(Image.fromarray(frame))) for frame in frames]).reshape(clips.shape))


def as_jpeg(clips: Clips, rng: np.random.Generator) -> Clips:
    def recompressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=20)
        return Image.open(file)

    return each_frame(clips, recompressed)


def cropped(clips: Clips, rng: np.random.Generator, share: float = 0.9) -> Clips:
    """A part of each clip, of a random place, enlarged."""
    size = clips.shape[2]
    side = round(share * size)

    def part(clip: Clips) -> Clips:
        top, left = (int(value) for value in rng.integers(0, size - side + 1, 2))
        box = (left, top, left + side, top + side)
        enlarged = each_frame(clip[None], lambda image: image.resize((size, size), Image.Resampling.BILINEAR, box=box))
        return np.asarray(enlarged[0])

    return np.stack([part(clip) for clip in clips])


def shifted(clips: Clips, rng: np.random.Generator) -> Clips:
    """By up to a tenth of the frame in any direction; the edge is repeated."""
    size = clips.shape[2]
    far = size // 10
    padded = np.pad(clips, ((0, 0), (0, 0), (far, far), (far, far), (0, 0)), "edge")
    corners = rng.integers(0, 2 * far + 1, (len(clips), 2))
    return np.stack([clip[:, y : y + size, x : x + size] for clip, (y, x) in zip(padded, corners, strict=True)])


def noisy(clips: Clips, rng: np.random.Generator, spread: float = 25) -> Clips:
    return np.asarray((clips + rng.normal(0, spread, clips.shape)).clip(0, 255).astype(np.uint8))


def all_at_once(clips: Clips, rng: np.random.Generator) -> Clips:
    mirrored = np.ascontiguousarray(clips[:, :, :, ::-1])
    return as_jpeg(noisy((cropped(mirrored, rng) * 0.6).astype(np.uint8), rng, 10), rng)


DISGUISES: dict[str, Disguise] = {
    "raw": lambda clips, rng: clips,
    "JPEG of quality 20": as_jpeg,
    "mirrored": lambda clips, rng: clips[:, :, :, ::-1],
    "cropped to 90 %": cropped,
    "cropped to 80 %": lambda clips, rng: cropped(clips, rng, 0.8),
    "shifted by up to 10 %": shifted,
    "half as bright": lambda clips, rng: clips // 2,
    "noise of 25 levels": noisy,
    "mirrored, cropped, darkened, noisy, JPEG": all_at_once,
}
MIXED = "mean of 4 clips of a class"


def calibrate(datasets: Sequence[str], num_sets: int, folders: Sequence[Path], out: Path) -> pd.DataFrame:
    """Scans `num_sets` honest sets and half as many leaks of each dataset and disguise, and the submissions in `folders`.

    Writes a row per set to `out/leaks.csv`, skipping sets that it has, and prints counts. Returns all rows.
    """
    rows = Rows(out / "leaks.csv")
    for row in _rows(datasets, num_sets, folders, rows):
        rows.add(row)
    table = rows.table()
    for names, part in table.groupby(["dataset", "origin", "set"], sort=False):
        flagged, clips = int((part["suspect"] > 0).sum()), int(part["clips"].sum())
        say(
            f"{' '.join(map(str, names))}: {flagged} of {len(part)} sets flagged, {part['suspect'].sum()} of {clips} clips "
            f"suspect, lowest ratio {part['lowest_ratio'].min():.2f}"
        )
    return table


def _rows(datasets: Sequence[str], num_sets: int, folders: Sequence[Path], done: Rows) -> Iterator[Row]:
    for folder in folders:
        ready = open_ready(folder)
        key = _key(ready.store.name, "method", ready.submission.manifest.folder, ready.submission.manifest.seed)
        if not done.has(key):
            yield _row(key, ready.clipset.clips, ready.store, None)
    for seed in range(num_sets):
        for name in datasets:
            store = Store.open(name)
            for split in (store.train, store.test) if seed % 2 == 0 else (store.train,):
                for disguise in (*DISGUISES, MIXED):
                    if not done.has(key := _key(name, split.name, disguise, seed)):
                        clips, videos = _set(split, disguise, np.random.default_rng([seed, len(disguise)]))
                        is_leak = split.name == "test"
                        yield _row(key, torch.from_numpy(np.ascontiguousarray(clips)), store, videos if is_leak else None)


def _key(dataset: str, origin: str, name: str, seed: int) -> dict[str, object]:
    return {"dataset": dataset, "origin": origin, "set": name, "seed": seed}


def _set(split: Split, disguise: str, rng: np.random.Generator) -> tuple[Clips, np.ndarray | None]:
    """One clip per class, disguised, and the videos that they come from."""
    copies = 4 if disguise == MIXED else 1
    videos = np.concatenate([rng.choice(np.flatnonzero(split.labels == k), copies) for k in range(split.spec.num_classes)])
    clips = split.clips(videos, split.random_starts(videos, rng)).numpy()
    if disguise == MIXED:
        return clips.reshape(-1, copies, *split.spec.clip_shape).mean(1, dtype=np.float32), None
    return DISGUISES[disguise](clips, rng), videos


def _row(key: Row, clips: torch.Tensor, store: Store, videos: np.ndarray | None) -> Row:
    began = time.process_time()
    found: Scan = scan(clips, store)
    seconds = round(time.process_time() - began, 2)
    names = store.test.index["video"].to_numpy(str)
    right = sum(names[videos[leak.clip]] == leak.test_video for leak in found.leaks) if videos is not None else ""
    counts = {"clips": found.num_compared, "suspect": len(found.leaks), "right": right}
    return {**key, **counts, "lowest_ratio": round(found.lowest_ratio, 3), "cpu_seconds": seconds}


def cost(name: str) -> None:
    """Prints CPU seconds for thumbnails and for a scan of MOST_CLIPS clips, measured on a dataset and projected to MiniUCF."""
    train = Store.open(name).train
    began = time.process_time()
    for _ in make_thumbnails(train):
        pass
    of_thumbnails = time.process_time() - began
    rng = np.random.default_rng(0)
    grey = rng.uniform(0, 255, (MOST_CLIPS, FRAMES, train.spec.size, train.spec.size)).astype(np.float32)
    nearest(grey[:1], train)  # makes the cached thumbnails
    began = time.process_time()
    candidates(grey, train)
    of_first = time.process_time() - began
    began = time.process_time()
    nearest(grey, train)
    of_rest = time.process_time() - began - of_first
    times = MINIUCF_VIDEOS * FRAMES_A_VIDEO / len(train.frames)
    say(
        f"{name}, {len(train.frames):,} frames of {train.spec.size} pixels, thumbnails version {THUMBNAILS}: thumbnails "
        f"{of_thumbnails:.1f} s, step 1 for {MOST_CLIPS} clips {of_first:.1f} s, steps 2 and 3 {of_rest:.1f} s. Projected to "
        f"MiniUCF's {MINIUCF_VIDEOS * FRAMES_A_VIDEO:,} frames: thumbnails once {of_thumbnails * times:.0f} s, a scan of "
        f"{MOST_CLIPS} clips {of_first * times + 2 * of_rest:.0f} s"
    )
