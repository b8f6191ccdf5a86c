"""Decodes one video file, and turns its frames into pictures of the size of clips."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Literal

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from vddbench.data.container import claimed_bytes

MAX_PIXELS = 4096 * 2304  # per frame: 4K; a worker took 0.36 GB for such a video with 16 reference frames
MAX_FRAMES = 100_000  # more than an hour at 25 frames/s is not a clip
MAX_DECODE_SECONDS = 600  # CPU time per video, so that a busy machine changes nothing; a Kinetics clip takes some 0.1 s
MIN_SHARE = 0.5  # share of the duration that must decode; in 35 videos cut without re-encoding, at least 0.69 did
FORMATS = "avi,matroska,webm,mov,mp4"  # FFmpeg would also read playlists, which name other files and URLs
# accepts videos with a title in latin-1; PyAV 19 reads such titles by default and no longer has this option
LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
# matrices of H.273 that swscale lacks -> the one used instead: some phones tag their videos as BT.2020 with constant luminance
# (10), whose coefficients are those of the usual BT.2020 (9)
MATRICES = {10: 9}
# FFmpeg's default scaler, with the flags that give the same pixels with and without SIMD, so stores agree across machines
SCALING = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)

Stride = int | Literal["even"]
Turn = tuple[bool, bool, bool]  # transpose, then flip x, then flip y
UPRIGHT: Turn = (False, False, False)
Frame = VideoFrame
Scaler = VideoReformatter  # reuses its tables for all frames


class UnreadableVideo(ValueError):
    """A video that cannot be stored. The message is the reason in problems.csv."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The fields of a DatasetSpec that decoding needs. Without importing spec.py, decoder processes start twice as fast."""

    frames: int
    size: int
    stride: Stride
    resize: tuple[int, int] | None
    num_videos: Mapping[Literal["train", "test"], int] | None
    num_missing: Mapping[Literal["train", "test"], int] | None

    @classmethod
    def of(cls, spec: object) -> Geometry:
        """The fields of a DatasetSpec."""
        return cls(**{field.name: getattr(spec, field.name) for field in fields(cls)})


def check_regular(path: Path) -> None:
    """Raises UnreadableVideo for pipes and devices, which may have no end, and OSError if `path` does not exist."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableVideo("not a regular file")


def missing_bytes(path: Path) -> int:
    """The number of bytes that the file lacks by its container's claim, which FFmpeg ignores. Raises UnreadableVideo."""
    try:
        actual = path.stat().st_size
        with path.open("rb") as file:
            claimed = claimed_bytes(file)
    except OSError as error:
        raise UnreadableVideo(f"cannot be read: {error.strerror}") from None
    if actual == 0:
        raise UnreadableVideo("empty file")
    return max(0, claimed - actual)


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a video file and its first video stream that is not a cover picture. FFmpeg's errors become UnreadableVideo."""
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        with av.open(str(path.absolute()), options=options, **LENIENT) as container:
            streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not streams:
                raise UnreadableVideo("no video stream")
            stream = streams[0]
            if stream.codec_context is None:
                raise UnreadableVideo("its codec is not known")
            check_pixels(stream.codec_context.width, stream.codec_context.height)
            stream.codec_context.thread_count = 1  # the pool has one process per core
            stream.codec_context.options = {"max_pixels": str(2 * MAX_PIXELS)}  # FFmpeg also counts padding
            yield container, stream
    except av.FFmpegError as error:
        raise UnreadableVideo(f"cannot be decoded: {error.strerror}") from None


def check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableVideo(f"frames of {width}x{height} pixels; allowed: {MAX_PIXELS:,}")


def header_num_frames(container: InputContainer, stream: VideoStream) -> int:
    """The number of frames that the header claims or the duration suggests; MAX_FRAMES if neither is known."""
    if stream.frames > 0:
        return stream.frames
    if container.duration and stream.average_rate:
        return round(container.duration / av.time_base * stream.average_rate)
    return MAX_FRAMES


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """All frames in display order.

    Raises UnreadableVideo if decoding takes too long, the container is damaged or most of it can't be read: a wrong byte
    between two frames can hide all following frames without an error.
    """
    num_decoded, begin, end = 0, 0.0, 0.0
    deadline = time.thread_time() + MAX_DECODE_SECONDS
    for packet in container.demux():  # packets of all streams, as one stream may be shorter than the others
        if time.thread_time() > deadline:
            raise UnreadableVideo(f"takes more than {MAX_DECODE_SECONDS} s to decode")
        ticks = packet.dts if packet.pts is None else packet.pts
        if ticks is not None and packet.time_base:
            begin = min(begin, float(ticks * packet.time_base))
            end = max(end, float((ticks + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        if packet.is_corrupt:
            raise UnreadableVideo("damaged or cut short")
        for frame in stream.decode(packet):
            num_decoded += 1
            if num_decoded > MAX_FRAMES:
                raise UnreadableVideo(f"more than {MAX_FRAMES:,} frames")
            check_pixels(frame.width, frame.height)
            yield frame
    claimed = (container.duration or 0) / av.time_base
    if num_decoded and end - begin < claimed * MIN_SHARE:
        raise UnreadableVideo(f"cut short: {end - begin:.1f} of {claimed:.1f} seconds can be read")


def seconds(path: Path) -> float | None:
    """The length of a video by its header; None if it is unknown or the file can't be opened."""
    try:
        with opened(path) as (container, _):
            return None if container.duration is None else container.duration / av.time_base
    except UnreadableVideo:
        return None


def picture(frame: VideoFrame, spec: Geometry, scaler: Scaler, turn: Turn) -> np.ndarray:
    """The pixels of a frame, scaled, turned upright and centre-cropped: uint8 RGB [H, W, C]."""
    transpose, flip_x, flip_y = turn
    width, height = (frame.height, frame.width) if transpose else (frame.width, frame.height)
    if spec.resize is None:
        short = min(width, height)
        width, height = round(width * spec.size / short), round(height * spec.size / short)
    else:
        width, height = spec.resize
    if width * height > MAX_PIXELS:
        raise UnreadableVideo(f"frames of {frame.width}x{frame.height} are too elongated")
    shape = (height, width) if transpose else (width, height)
    if (matrix := MATRICES.get(frame.colorspace)) is not None:
        frame.colorspace = matrix
    try:
        image = scaler.reformat(frame, *shape, format="rgb24", interpolation=SCALING, threads=1).to_ndarray()
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise UnreadableVideo(
            f"its colours can't be converted to RGB: pixel format {frame.format.name}, matrix {int(frame.colorspace)} of H.273"
        ) from None
    image = image.swapaxes(0, 1) if transpose else image
    image = image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    top, left = (height - spec.size) // 2, (width - spec.size) // 2
    image = image[top : top + spec.size, left : left + spec.size]
    assert image.shape == (spec.size, spec.size, 3), "resize is smaller than size"
    return image


def fitted(pixels: np.ndarray, spec: Geometry, scaler: Scaler) -> np.ndarray:
    """An upright picture, unchanged if it has the clips' size, otherwise scaled and cropped: uint8 RGB [H, W, C]."""
    if pixels.shape[:2] == (spec.size, spec.size):
        return pixels
    return picture(VideoFrame.from_ndarray(pixels, format="rgb24"), spec, scaler, UPRIGHT)


def orientation(frame: VideoFrame) -> Turn:
    """The turn that makes a video upright, e.g. one from a phone held sideways.

    Only the first frame's side data is read: once it was read, PyAV keeps the frame until the next garbage collection. The
    display matrix maps x' = a*x + c*y, y' = b*x + d*y; other angles are rounded to the nearest quarter turn.
    """
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(side_data, np.int32)[:5].tolist()
    transpose = abs(c) > abs(a)
    return transpose, (c if transpose else a) < 0, (b if transpose else d) < 0


def start_worker() -> None:
    """Initialises a process of the pool: silences FFmpeg, and ends the process when its parent ends or is killed."""
    av.logging.set_level(None)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
