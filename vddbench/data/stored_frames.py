"""Chooses the frames of a video that a store keeps, and writes them.

One decoded frame is in memory at a time (plus the decoder's own references), and only frames to store are converted. Which
frames are stored depends on the number of frames, which only decoding reveals: headers can be wrong (UCF's packed bitstreams)
or lack the number (webm). The first pass therefore uses the header's number as a guess. If the true number selects different
frames, the video is decoded a second time.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from vddbench.data.decode import (
    UPRIGHT,
    Frame,
    Geometry,
    Scaler,
    Stride,
    UnreadableVideo,
    check_regular,
    decoded,
    header_num_frames,
    missing_bytes,
    opened,
    orientation,
    picture,
)
from vddbench.data.fingerprint import FramesFile, thumbnail
from vddbench.system.files import sha256_file

MAX_STORED_FRAMES = 4096  # per video: 3.2 GB at 512 pixels; a small file that shows a still for an hour would take 78 GB


class Plan(NamedTuple):
    """Which frames of a video are stored: those in `chosen`, or every `step`-th frame if `chosen` is None."""

    step: int
    chosen: tuple[int, ...] | None


class Written(NamedTuple):
    """What `write_frames` wrote: the stride it used, and numbers of frames."""

    stride: int
    num_frames: int  # stored
    num_source: int  # decoded
    num_guessed: int  # of the decoded ones, damaged ones that the decoder filled in


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A stored video: `num_frames` frames, `stride` source frames apart (rounded down for "even")."""

    num_frames: int
    stride: int
    sha256: str  # of the source file
    frames_sha256: str  # of the stored bytes
    thumbnail: np.ndarray | None  # see fingerprint.py; None: an earlier run stored the video
    num_source: int  # frames of the source; with fewer than T of them, stored frames repeat
    num_guessed: int = 0  # damaged frames of the video, stored or not, that the decoder filled in
    note: str = ""  # what a user should know about this video


def plan(num_decoded: int, frames: int, stride: Stride) -> Plan:
    """The frames to store among n decoded ones: 0, s, 2s, ... with s = stride, or s = max(1, n // T) if the video
    has fewer than T*stride frames. With stride "even": the T frames floor(i*n/T). If there are fewer than T: all frames.
    """
    if stride != "even":
        return Plan(stride if num_decoded >= frames * stride else max(1, num_decoded // frames), None)
    if num_decoded < frames:
        return Plan(1, None)
    return Plan(num_decoded // frames, tuple(i * num_decoded // frames for i in range(frames)))


def planned_frames(planned: Plan, num_decoded: int) -> Sequence[int]:
    """The indices of the planned frames among n decoded frames."""
    return range(0, num_decoded, planned.step) if planned.chosen is None else planned.chosen


def store_video(path: Path, spec: Geometry, part: Path) -> Stored:
    """Writes the planned frames of the video `path` to the new file `part`: uint8 [num_frames, H, W, C].

    Raises UnreadableVideo, and OSError if `part` cannot be written.
    """
    try:
        check_regular(path)
        source = sha256_file(path)
    except OSError as error:
        raise UnreadableVideo(f"cannot be read: {error.strerror}") from None
    with part.open("w+b") as file:
        written = write_frames(path, spec, file)
        return stored(
            file, spec, written.num_frames, stride=written.stride, sha256=source,
            num_source=written.num_source, num_guessed=written.num_guessed,
        )  # fmt: skip


def stored(
    file: io.BufferedRandom,
    spec: Geometry,
    num_frames: int,
    *,
    stride: int,
    sha256: str,
    num_source: int,
    num_guessed: int = 0,
) -> Stored:
    """Describes a file with stored frames."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stored(
        num_frames=num_frames,
        stride=stride,
        sha256=sha256,
        frames_sha256=digest,
        thumbnail=thumbnail(FramesFile(file, (num_frames, spec.size, spec.size, 3))),
        num_source=num_source,
        num_guessed=num_guessed,
    )


def write_frames(path: Path, spec: Geometry, out: BinaryIO) -> Written:
    """Writes the planned frames of a video into the empty file `out`.

    A video with fewer than T frames repeats from its start up to T. A video with guessed frames is refused, except in a pinned
    dataset that must be complete: the distributor's file can't be replaced. Raises UnreadableVideo.
    """
    cut_bytes = missing_bytes(path)
    with opened(path) as (container, stream):
        expected = header_num_frames(container, stream)
        planned = plan(expected, spec.frames, spec.stride)
        num_decoded, num_guessed = write_planned(decoded(container, stream), spec, planned, out)
    if cut_bytes and num_decoded < expected:  # a file that lost only its trailing index still has all its frames
        raise UnreadableVideo(f"cut short: {cut_bytes:,} bytes are missing at its end")
    if num_decoded == 0:
        raise UnreadableVideo("no frames")
    if num_guessed and (spec.num_videos is None or spec.num_missing is not None):
        raise UnreadableVideo(f"damaged: {num_guessed:,} of {num_decoded:,} frames could only be guessed")
    actual = plan(num_decoded, spec.frames, spec.stride)
    if (num_planned := len(planned_frames(actual, num_decoded))) > MAX_STORED_FRAMES:
        raise UnreadableVideo(
            f"more than {MAX_STORED_FRAMES:,} frames to store: {num_planned:,} with a stride of {actual.step}"
        )
    if actual != planned:
        out.seek(0)
        out.truncate()
        with opened(path) as (container, stream):
            if write_planned(decoded(container, stream), spec, actual, out)[0] != num_decoded:
                raise UnreadableVideo("decodes to a different number of frames each time")
    return Written(actual.step, repeat_to(spec, out), num_decoded, num_guessed)


def repeat_to(spec: Geometry, out: BinaryIO) -> int:
    """Repeats the frames in `out` from the first one until there are T frames; returns the number of frames."""
    frame_bytes = spec.size * spec.size * 3
    num_frames = out.tell() // frame_bytes
    if num_frames < spec.frames:
        out.seek(0)
        frames = out.read()
        out.write((frames * spec.frames)[: (spec.frames - num_frames) * frame_bytes])
    return max(num_frames, spec.frames)


def write_planned(frames: Iterator[Frame], spec: Geometry, planned: Plan, out: BinaryIO) -> tuple[int, int]:
    """Writes the planned frames of a video, at most MAX_STORED_FRAMES; returns its (frames, damaged frames)."""
    wanted = itertools.count(0, planned.step) if planned.chosen is None else iter(planned.chosen)
    next_wanted, num_decoded, num_stored, num_guessed = next(wanted), 0, 0, 0
    scaler = Scaler()
    turn = UPRIGHT
    for frame in frames:
        if num_decoded == 0:
            turn = orientation(frame)
        if num_decoded == next_wanted and num_stored < MAX_STORED_FRAMES:
            out.write(picture(frame, spec, scaler, turn).tobytes())
            num_stored += 1
            next_wanted = next(wanted, -1)
        num_decoded += 1
        num_guessed += frame.is_corrupt
    return num_decoded, num_guessed
