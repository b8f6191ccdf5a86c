"""The clips of a distilled set as mp4 files, which browsers play and `datasets` loads.

They are pictures for people, as previews are: frames are rounded to 8 bits and compressed with loss. What is scored is the
payload alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vddbench.data.stream_codec import encode
from vddbench.spec import ClipSet
from vddbench.submissions.previews import eight_bits
from vddbench.system.progress import bar

MAX_CLIPS = 500  # every clip of a set of MiniUCF at IPC 10
MAX_BYTES = 50_000_000  # of all files together
FRAMES_PER_SECOND = 8  # slow enough to see what 16 frames show
CODEC = "libx264"
# faststart: plays before it is downloaded; no-asm: same bytes for the same clips, as in stream_codec.py
OPTIONS = {"crf": "23", "preset": "veryfast", "movflags": "+faststart", "x264-params": "no-asm=1"}


@dataclass(frozen=True)
class ClipVideo:
    """A file that `write_videos` wrote."""

    file: str  # name inside the folder
    label: int  # class of the clip; with soft labels the most probable one
    clip: int  # its index in the decoded set


def write_videos(clip_set: ClipSet, folder: Path, max_clips: int = MAX_CLIPS, max_bytes: int = MAX_BYTES) -> list[ClipVideo]:
    """Writes `clip00003.mp4` and so on, H.264 in 4:2:0. The same clips give the same bytes with one version of FFmpeg.

    If there are too many, the first clip of each class is written, then the second of each, until a limit is reached. Raises
    OSError if the folder cannot be written.
    """
    labels = classes_of(clip_set)
    chosen = one_of_each_class_first(labels)[:max_clips]
    videos: list[ClipVideo] = []
    with bar("videos of the clips", len(chosen)) as progress:
        for clip in chosen:
            video = ClipVideo(f"clip{clip:05}.mp4", labels[clip], clip)
            encode(
                folder / video.file,
                of_even_size(eight_bits(clip_set.clips[clip])),
                CODEC,
                rate=FRAMES_PER_SECOND,
                options=OPTIONS,
            )
            max_bytes -= (folder / video.file).stat().st_size
            if max_bytes < 0:
                (folder / video.file).unlink()
                break
            videos.append(video)
            progress.advance()
    return sorted(videos, key=lambda video: video.clip)


def classes_of(clip_set: ClipSet) -> list[int]:
    """The class of each clip; with soft labels the most probable one."""
    labels = clip_set.labels if clip_set.labels.ndim == 1 else clip_set.labels.argmax(1)
    return [int(label) for label in labels.tolist()]


def one_of_each_class_first(labels: Sequence[int]) -> list[int]:
    """All indices: those of the first clip of each class, then of the second of each class, and so on."""
    seen: Counter[int] = Counter()
    turns = []
    for clip, label in enumerate(labels):
        turns.append((seen[label], clip))
        seen[label] += 1
    return [clip for _, clip in sorted(turns)]


def of_even_size(frames: np.ndarray) -> np.ndarray:
    """uint8 [T, H, W, 3] with the last row and column repeated where H or W is odd, which 4:2:0 cannot store."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
