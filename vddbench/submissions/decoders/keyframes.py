"""Decoder `keyframes`: F frames per clip at stored times, linearly interpolated, so that motion is a series of cross-fades.

| tensor | shape | dtype | |
|---|---|---|---|
| frames | [N, F, H, W, 3] | uint8, float16, float32 | on the 0-255 scale |
| times | [N, F] | float16, float32 | in frames from 0 to T - 1, strictly increasing in each row |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |
| scale, offset | [3] each | float32 | optional: value = frames * scale + offset per channel |

Frame t of a clip lies between the last keyframe at or before t and the next one, in proportion to time. Before the first
and after the last time the nearest keyframe is repeated. The arithmetic is float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import AFFINE, SOFT_DTYPES, Want, affine, expect, label_want, labels, pixel_want, stays_uint8


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips: uint8 if the frames are plain uint8, rounded to nearest for a quarter of the memory; else float32.

    Raises ValueError with a line for each wrong tensor, or with the first wrong row of `times`.
    """
    wanted = {
        "frames": pixel_want("N", "F", *spec.clip_shape[1:]),
        "times": Want((("N", "F"),), SOFT_DTYPES),
        "labels": label_want(spec),
    }
    expect(tensors, wanted, AFFINE)
    times = tensors["times"].to(torch.float32).contiguous()
    check_times(times, spec.frames)
    frames = affine(tensors, tensors["frames"])
    return ClipSet(clips=interpolate(frames, times, spec.frames), labels=labels(tensors, spec))


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """The bytes of a uint8 clip if the frames are plain uint8, else of a float32 clip."""
    return spec.clip_bytes if stays_uint8(tensors, "frames") else 4 * spec.clip_bytes


def check_times(times: torch.Tensor, frames: int, clip: int | None = None) -> None:
    """Raises ValueError with the first row of times [N, F] that is not strictly increasing from 0 to frames - 1.

    clip: for times of one clip, [1, F], its number, which the message gives in place of the row.
    """
    bad = (times < 0).any(1) | (times > frames - 1).any(1) | (times.diff(dim=1) <= 0).any(1)
    if bad.any():
        row = int(bad.nonzero()[0])
        shown = ", ".join(f"{t:g}" for t in times[row, :8].tolist())
        raise ValueError(
            f"tensor 'times' {f'row {row}' if clip is None else f'of clip {clip}'} is "
            f"[{shown}{', ...' if times.shape[1] > 8 else ''}]; allowed: strictly increasing from 0 to {frames - 1}"
        )


def interpolate(frames: torch.Tensor, times: torch.Tensor, num_frames: int) -> torch.Tensor:
    """[N, F, H, W, 3], [N, F] -> [N, T, H, W, 3] of the frames' dtype."""
    rows = torch.arange(len(frames))
    last = times.shape[1] - 1
    clips = torch.empty((len(frames), num_frames, *frames.shape[2:]), dtype=frames.dtype)
    for t in range(num_frames):  # one frame at a time, so that temporaries need 1/T of the memory of the clips
        after = torch.searchsorted(times, torch.full((len(frames), 1), float(t)), right=True)[:, 0]
        left, right = (after - 1).clamp(0, last), after.clamp(0, last)
        begin, end = times[rows, left], times[rows, right]
        share = torch.where(right > left, (t - begin) / (end - begin), 0.0)
        mixed = torch.lerp(frames[rows, left].float(), frames[rows, right].float(), share[:, None, None, None])
        clips[:, t] = mixed if frames.is_floating_point() else mixed.round()
    return clips
