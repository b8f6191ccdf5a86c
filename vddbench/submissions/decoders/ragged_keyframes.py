"""Decoder `ragged_keyframes`: as `keyframes`, but each clip has its own number of key-frames.

| tensor | shape | dtype | |
|---|---|---|---|
| frames | [M, H, W, 3] | uint8, float16, float32 | the key-frames of all clips, clip by clip, on the 0-255 scale |
| times | [M] | uint8, float16, float32 | in frames from 0 to T - 1, strictly increasing within a clip |
| counts | [N] | uint8, int16, int32, int64 | key-frames of each clip, at least 1; their sum is M |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |
| scale, offset | [3] each | float32 | optional: value = frames * scale + offset per channel |

A clip's key-frames are interpolated by the arithmetic of `keyframes`: linearly between two of them, the nearest one repeated
before the first and after the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.decoders.keyframes import check_times, interpolate
from vddbench.submissions.tensors import (
    AFFINE,
    INDEX_DTYPES,
    SOFT_DTYPES,
    Want,
    affine,
    expect,
    label_want,
    labels,
    pixel_want,
    stays_uint8,
)


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips: uint8 if the frames are plain uint8, rounded to nearest for a quarter of the memory; else float32.

    Raises ValueError with a line for each wrong tensor, or with the first wrong clip of `counts` or `times`.
    """
    wanted = {
        "frames": pixel_want("M", *spec.clip_shape[1:]),
        "times": Want((("M",),), (torch.uint8, *SOFT_DTYPES)),
        "counts": Want((("N",),), INDEX_DTYPES),
        "labels": label_want(spec),
    }
    sizes = expect(tensors, wanted, AFFINE)
    targets = labels(tensors, spec)
    counts = _checked_counts(tensors["counts"], sizes["M"])
    times, frames = tensors["times"].to(torch.float32), affine(tensors, tensors["frames"])
    clips = torch.empty((len(counts), *spec.clip_shape), dtype=frames.dtype)
    for clip, (count, end) in enumerate(zip(counts, accumulate(counts), strict=True)):
        own = slice(end - count, end)
        check_times(times[None, own], spec.frames, clip)
        clips[clip] = interpolate(frames[None, own], times[None, own], spec.frames)[0]
    return ClipSet(clips=clips, labels=targets)


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """The bytes of a uint8 clip if the frames are plain uint8, else of a float32 clip."""
    return spec.clip_bytes if stays_uint8(tensors, "frames") else 4 * spec.clip_bytes


def _checked_counts(stored: torch.Tensor, num_frames: int) -> list[int]:
    """Raises ValueError unless every count is at least 1 and all together are the number of frames."""
    counts = [int(count) for count in stored]  # Python's integers, so that huge counts cannot wrap around
    for clip, count in enumerate(counts):
        if not 1 <= count <= num_frames:
            raise ValueError(
                f"tensor 'counts' gives clip {clip} {count} key-frames; allowed: 1 to {num_frames}, the rows of 'frames'"
            )
    if sum(counts) != num_frames:
        raise ValueError(
            f"tensor 'counts' sums to {sum(counts):,} key-frames; allowed: {num_frames:,}, the rows of 'frames' and 'times'"
        )
    return counts
