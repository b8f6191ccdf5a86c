"""Decodes one video into the frames a store keeps. The only file that imports `av`.

Frames stream: one decoded frame is in memory at a time (plus the decoder's own references), and only those that are
stored are converted. Which ones depends on how many frames the video has, and only decoding tells: headers lie (UCF's
packed bitstreams, webm without a count). So the header's count is a guess; when it was wrong in a way that matters, the
video is decoded a second time with the true count. Runs in the worker processes of `prepare`: no torch here.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from vddbench.data.container import claimed_bytes
from vddbench.data.fingerprint import FramesFile, thumbnail
from vddbench.system.files import sha256_file

MAX_PIXELS = 4096 * 2304  # of one frame: 4K. A worker took 0.36 GB with 16 reference frames
MAX_FRAMES = 100_000  # more than an hour at 25 frames/s is not a clip
MAX_STORED_FRAMES = 4096  # of one video: 3.2 GB at 512 pixels. A still of an hour is a small file, and would be 78 GB
MIN_SHARE = 0.5  # of the seconds that the container names. Of 35 that were cut without coding anew, 0.69 and more can
FORMATS = "avi,matroska,webm,mov,mp4"  # FFmpeg also reads playlists that name other files and URLs: not from strangers
# a title in latin-1 is no reason to refuse a video; PyAV 19 reads it without being told, and lost the option
LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
# FFmpeg's default scaler, with the flags that give the same pixels with and without SIMD, so stores agree across machines
SCALING = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)

Stride = int | Literal["even"]
Plan = tuple[int, tuple[int, ...] | None]  # step between stored frames; the chosen frames, None: every step-th
Turn = tuple[bool, bool, bool]  # transpose, then flip x, then flip y
UPRIGHT: Turn = (False, False, False)
Scaler = VideoReformatter  # keeps its tables from frame to frame


class UnreadableVideo(ValueError):
    """A video that cannot be stored; the message is a short reason for problems.csv."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What became of one video: `num_frames` frames kept, `stride` source frames apart (rounded down when "even")."""

    num_frames: int
    stride: int
    sha256: str  # of the source file
    frames_sha256: str  # of the stored bytes
    thumbnail: np.ndarray | None  # of fingerprint.py; None: it was stored by an earlier run
    num_guessed: int = 0  # damaged frames that the decoder filled in, of all it gave


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What decoding needs of a DatasetSpec. Workers are given this: to import spec.py takes as long as all the rest they do."""

    frames: int
    size: int
    stride: Stride
    resize: tuple[int, int] | None
    num_videos: Mapping[Literal["train", "test"], int] | None
    num_missing: Mapping[Literal["train", "test"], int] | None


def plan(num_decoded: int, frames: int, stride: Stride) -> Plan:
    """Which of n decoded frames are stored (protocol v1): frames 0, s, 2s, ... where s = stride, or max(1, n // T) when
    the video has fewer than T*stride frames; "even": exactly T frames, floor(i*n/T). Fewer than T frames: all of them.
    """
    if stride != "even":
        return stride if num_decoded >= frames * stride else max(1, num_decoded // frames), None
    if num_decoded < frames:
        return 1, None
    return num_decoded // frames, tuple(i * num_decoded // frames for i in range(frames))


def planned_frames(planned: Plan, num_decoded: int) -> Sequence[int]:
    """The numbers of the stored ones of n decoded frames."""
    step, chosen = planned
    return range(0, num_decoded, step) if chosen is None else chosen


def store_video(path: Path, spec: Geometry, part: Path) -> Stored:
    """Writes the stored frames of `path` to the new file `part`: [num_frames, H, W, C] uint8.

    Raises UnreadableVideo, and OSError when `part` cannot be written.
    """
    try:
        check_regular(path)
        source = sha256_file(path)
    except OSError as error:
        raise UnreadableVideo(f"cannot be read: {error.strerror}") from None
    with part.open("w+b") as file:
        step, num_frames, num_guessed = write_frames(path, spec, file)
        return stored(file, spec, num_frames, stride=step, sha256=source, num_guessed=num_guessed)


def stored(
    file: io.BufferedRandom, spec: Geometry, num_frames: int, *, stride: int, sha256: str, num_guessed: int = 0
) -> Stored:
    """What a part with the stored frames holds."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stored(
        num_frames=num_frames,
        stride=stride,
        sha256=sha256,
        frames_sha256=digest,
        thumbnail=thumbnail(FramesFile(file, (num_frames, spec.size, spec.size, 3))),
        num_guessed=num_guessed,
    )


def check_regular(path: Path) -> None:
    """Raises UnreadableVideo for what may have no end (pipes, devices), OSError when it isn't there."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableVideo("not a regular file")


def write_frames(path: Path, spec: Geometry, out: BinaryIO) -> tuple[int, int, int]:
    """Writes the stored frames of a video into the empty file `out`; returns (stride used, frames stored, frames of the
    video that were damaged and that the decoder guessed).

    A video of fewer than T frames repeats from its start up to T. One with guessed frames is refused, unless it is of a
    dataset that may miss none: there the distributor's file is what it is. Raises UnreadableVideo.
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
        raise UnreadableVideo(f"more than {MAX_STORED_FRAMES:,} frames to store: {num_planned:,} with a stride of {actual[0]}")
    if actual != planned:
        out.seek(0)
        out.truncate()
        with opened(path) as (container, stream):
            if write_planned(decoded(container, stream), spec, actual, out)[0] != num_decoded:
                raise UnreadableVideo("decodes to another number of frames each time")
    return actual[0], repeat_to(spec, out), num_guessed


def repeat_to(spec: Geometry, out: BinaryIO) -> int:
    """Repeats the frames in `out` from their start when they are fewer than T; returns how many there are then."""
    frame_bytes = spec.size * spec.size * 3
    num_frames = out.tell() // frame_bytes
    if num_frames < spec.frames:
        out.seek(0)
        frames = out.read()
        out.write((frames * spec.frames)[: (spec.frames - num_frames) * frame_bytes])
    return max(num_frames, spec.frames)


def write_planned(frames: Iterator[VideoFrame], spec: Geometry, planned: Plan, out: BinaryIO) -> tuple[int, int]:
    """Writes the planned ones of a video's frames, the first MAX_STORED_FRAMES; returns how many frames it really has, and how
    many of them are damaged.
    """
    step, chosen = planned
    wanted = itertools.count(0, step) if chosen is None else iter(chosen)
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


def picture(frame: VideoFrame, spec: Geometry, scaler: Scaler, turn: Turn) -> np.ndarray:
    """[H, W, C] uint8 RGB: scaled, turned upright, centre-cropped."""
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
    image = scaler.reformat(frame, *shape, format="rgb24", interpolation=SCALING, threads=1).to_ndarray()
    image = image.swapaxes(0, 1) if transpose else image
    image = image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    top, left = (height - spec.size) // 2, (width - spec.size) // 2
    image = image[top : top + spec.size, left : left + spec.size]
    assert image.shape == (spec.size, spec.size, 3), "resize is smaller than size"
    return image


def fitted(pixels: np.ndarray, spec: Geometry, scaler: Scaler) -> np.ndarray:
    """[H, W, C] uint8 RGB of an upright picture of any size: as it is when it has the clips' size, else scaled and cropped."""
    if pixels.shape[:2] == (spec.size, spec.size):
        return pixels
    return picture(VideoFrame.from_ndarray(pixels, format="rgb24"), spec, scaler, UPRIGHT)


def orientation(frame: VideoFrame) -> Turn:
    """What turns a video upright, e.g. one of a phone held sideways; asked of its first frame only, as PyAV keeps a frame
    whose side data was read until the garbage collector comes.

    The display matrix maps x' = a*x + c*y, y' = b*x + d*y; angles between the right ones go to the nearest.
    """
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(side_data, np.int32)[:5].tolist()
    transpose = abs(c) > abs(a)
    return transpose, (c if transpose else a) < 0, (b if transpose else d) < 0


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its first real video stream. FFmpeg's errors become UnreadableVideo."""
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
            stream.codec_context.thread_count = 1  # the pool has a process a core
            stream.codec_context.options = {"max_pixels": str(2 * MAX_PIXELS)}  # FFmpeg counts its padding too
            yield container, stream
    except av.FFmpegError as error:
        raise UnreadableVideo(f"cannot be decoded: {error.strerror}") from None


def check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableVideo(f"frames of {width}x{height} pixels; at most {MAX_PIXELS:,} are read")


def header_num_frames(container: InputContainer, stream: VideoStream) -> int:
    """The number of frames a header claims or its duration suggests; MAX_FRAMES when it says nothing."""
    if stream.frames > 0:
        return stream.frames
    if container.duration and stream.average_rate:
        return round(container.duration / av.time_base * stream.average_rate)
    return MAX_FRAMES


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """All frames in display order. Raises UnreadableVideo when the container is damaged, or most of it can't be read: a wrong
    byte between the frames can hide all that follow, without an error.
    """
    num_decoded, begin, end = 0, 0.0, 0.0
    for packet in container.demux():  # of all streams, as one may be shorter than the others
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and packet.time_base:
            begin = min(begin, float(time * packet.time_base))
            end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
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


def missing_bytes(path: Path) -> int:
    """By how much the file is shorter than its container says (FFmpeg plays it without a word). Raises UnreadableVideo."""
    try:
        found = path.stat().st_size
        with path.open("rb") as file:
            claimed = claimed_bytes(file)
    except OSError as error:
        raise UnreadableVideo(f"cannot be read: {error.strerror}") from None
    if found == 0:
        raise UnreadableVideo("empty file")
    return max(0, claimed - found)


def start_worker() -> None:
    """Initialiser of a pool's process: quiet, and gone with its parent, also when that was killed."""
    av.logging.set_level(None)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def encode(
    path: Path, frames: Iterable[np.ndarray], codec: str, *, rate: int, bit_rate: int = 0, options: dict[str, str] | None = None
) -> None:
    """Writes uint8 frames [H, W, 3] as a video, as `bench --prepare` reads them. Raises OSError."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_count = 1  # more than one would write other bytes
        stream.codec_context.bit_rate = bit_rate
        for i, pixels in enumerate(frames):
            if i == 0:
                stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "yuv420p"
            container.mux(stream.encode(VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
