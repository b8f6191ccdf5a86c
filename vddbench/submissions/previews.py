"""Previews of a distilled set, made from the clips that a student sees: a small looping animated WebP for each class, a sheet.

Previews are pictures for people: frames are rounded to 8 bits, shrunk and compressed until the file is small.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vddbench.data.contact_sheet import draw_sheet
from vddbench.spec import ClipSet, DatasetSpec, Submission
from vddbench.submissions.submission import decode
from vddbench.system.files import write_whole

VERSION = 2  # increase it when the same payload gives different pictures, so that pages replace the old ones
MAX_BYTES = 50_000  # per preview; a page with fifty of them has 2.5 MB
MAX_FRAMES = 32  # for longer clips, only every n-th frame is shown
MAX_SIDE = 128  # pixels; larger clips are shrunk, smaller ones are left to the browser to enlarge
SHEET_CLASSES = 24  # of a sheet, so that it fits a screen
FRAME_MILLISECONDS = 120
QUALITIES = (75, 50, 25, 5)  # WebP qualities, tried in this order until a file is small enough


@dataclass(frozen=True)
class Preview:
    """A file that `write` wrote, and the class that it shows."""

    file: str  # name inside the folder
    label: int
    class_name: str
    still: str  # name of the file of its first frame, for visitors who do not want motion


def write(submission: Submission, spec: DatasetSpec, folder: Path, max_classes: int = 64) -> list[Preview]:
    """Writes `class0003.webp` and `still0003.webp` and so on for the first `max_classes` classes that have a clip.

    Shows the first clip of each class; if labels are probabilities, the clip with the highest probability of the class.
    Raises ValueError or LookupError if the payload cannot be decoded, OSError if the folder cannot be written.
    """
    clip_set = decode(submission, spec)
    previews: list[Preview] = []
    for label, index in _shown_clips(clip_set, spec.num_classes):
        if len(previews) == max_classes:
            break
        name, still = f"class{label:04}.webp", f"still{label:04}.webp"
        frames = frames_of(clip_set.clips[index])
        for path, shown in ((name, frames), (still, frames[:1])):
            write_whole(folder / path, animated(shown))
        previews.append(Preview(name, label, spec.class_names[label], still))
    return previews


def write_sheet(clip_set: ClipSet, spec: DatasetSpec, path: Path) -> int:
    """Writes a PNG of the first clip of each of the first SHEET_CLASSES classes, as a student sees them; returns their number.

    Four frames each, on the 0-255 scale: a wrong value range, layout, channel order or order of labels is visible.
    """
    shown = list(itertools.islice(_shown_clips(clip_set, spec.num_classes), SHEET_CLASSES))
    clips = np.stack([eight_bits(clip_set.clips[index]) for _, index in shown])
    draw_sheet([f"{label} {spec.class_names[label]}" for label, _ in shown], clips, path)
    return len(shown)


def _shown_clips(clip_set: ClipSet, num_classes: int) -> Iterator[tuple[int, int]]:
    """(class, index of its clip), by class. Leaves out classes without a clip."""
    if clip_set.labels.ndim == 2:
        yield from enumerate(clip_set.labels.argmax(0).tolist())
        return
    for label in range(num_classes):
        indices = (clip_set.labels == label).nonzero()
        if len(indices):
            yield label, int(indices[0, 0])


def frames_of(clip: torch.Tensor) -> np.ndarray:
    """[T, H, W, 3] on the 0-255 scale, uint8 or float, -> uint8 [at most MAX_FRAMES, H, W, 3]. NaN, infinity: black."""
    step = -(-len(clip) // MAX_FRAMES)
    return eight_bits(clip[::step])


def eight_bits(frames: torch.Tensor) -> np.ndarray:
    """Frames on the 0-255 scale, uint8 or float, as uint8 of the same shape. NaN, infinity: black."""
    if frames.dtype != torch.uint8:
        frames = frames.float().nan_to_num(0, 0, 0).round().clamp(0, 255).to(torch.uint8)
    return frames.cpu().numpy()


def animated(frames: np.ndarray) -> bytes:
    """uint8 [T, H, W, 3] -> a looping WebP of at most MAX_BYTES, in the best quality that fits."""
    side = min(MAX_SIDE, frames.shape[2])
    while True:
        pictures = [Image.fromarray(frame) for frame in frames]
        if side < frames.shape[2]:
            pictures = [picture.resize((side, side), Image.Resampling.BOX) for picture in pictures]
        for quality in QUALITIES:
            data = _webp(pictures, quality)
            if len(data) <= MAX_BYTES:
                return data
        side //= 2  # the loop ends: 32 frames of 16 x 16 have 24,576 bytes before compression


def _webp(pictures: list[Image.Image], quality: int) -> bytes:
    buffer = io.BytesIO()
    first, *rest = pictures
    first.save(
        buffer, "WEBP", save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0, quality=quality, method=4
    )
    return buffer.getvalue()
