"""Decodes one video into the frames that a store keeps, and one elementary stream into planes. The only file that imports `av`.

One decoded frame is in memory at a time (plus the decoder's own references), and only frames to store are converted. Which
frames are stored depends on the number of frames, which only decoding reveals: headers can be wrong (UCF's packed bitstreams)
or lack the number (webm). The first pass therefore uses the header's number as a guess. If the true number selects different
frames, the video is decoded a second time.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from fractions import Fraction
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import av
import av.error
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from vddbench.data.container import claimed_bytes
from vddbench.data.elementary import BadStream, Codec, Packets
from vddbench.data.fingerprint import FramesFile, thumbnail
from vddbench.system.files import sha256_file

MAX_PIXELS = 4096 * 2304  # per frame: 4K; a worker took 0.36 GB for such a video with 16 reference frames
MAX_FRAMES = 100_000  # more than an hour at 25 frames/s is not a clip
MAX_STORED_FRAMES = 4096  # per video: 3.2 GB at 512 pixels; a small file that shows a still for an hour would take 78 GB
MAX_DECODE_SECONDS = 600  # CPU time per video, so that a busy machine changes nothing; a Kinetics clip takes some 0.1 s
MIN_SHARE = 0.5  # share of the duration that must decode; in 35 videos cut without re-encoding, at least 0.69 did
FORMATS = "avi,matroska,webm,mov,mp4"  # FFmpeg would also read playlists, which name other files and URLs
# accepts videos with a title in latin-1; PyAV 19 reads such titles by default and no longer has this option
LENIENT: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
# FFmpeg's default scaler, with the flags that give the same pixels with and without SIMD, so stores agree across machines
# matrices of H.273 that swscale lacks -> the one used instead: some phones tag their videos as BT.2020 with constant luminance
# (10), whose coefficients are those of the usual BT.2020 (9)
MATRICES = {10: 9}
SCALING = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)
# of elementary streams, by name: software decoders that follow the codec's specification to the bit. FFmpeg's own choice may
# be one of the GPU
DECODERS: dict[Codec, str] = {"av1": "libdav1d", "h264": "h264"}
STREAM_OPTIONS: dict[Codec, dict[str, str]] = {
    "av1": {"export_side_data": "film_grain"},  # grain is described beside the frame, not added to it
    # strict: frames in order of display, not in a guessed order; unaligned: cropped to the pixel; explode: damage is an error
    "h264": {"strict": "strict", "flags": "unaligned", "err_detect": "explode"},
}
ENCODERS: dict[
    Codec, tuple[str, dict[str, str]]
] = {  # with the options besides crf; one thread, so that the bytes are the same
    "av1": ("libsvtav1", {"preset": "4", "svtav1-params": "lp=1:film-grain=0"}),
    "h264": ("libx264", {"preset": "slow", "x264-params": "threads=1:slices=1"}),
}
PADDING = 128  # pixels that FFmpeg adds to a side when it compares a frame with `max_pixels`, at most

Stride = int | Literal["even"]
Turn = tuple[bool, bool, bool]  # transpose, then flip x, then flip y
UPRIGHT: Turn = (False, False, False)
Scaler = VideoReformatter  # reuses its tables for all frames


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


class UnreadableVideo(ValueError):
    """A video that cannot be stored. The message is the reason in problems.csv."""


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


def check_regular(path: Path) -> None:
    """Raises UnreadableVideo for pipes and devices, which may have no end, and OSError if `path` does not exist."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableVideo("not a regular file")


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


def write_planned(frames: Iterator[VideoFrame], spec: Geometry, planned: Plan, out: BinaryIO) -> tuple[int, int]:
    """Writes the planned frames of a video, at most MAX_STORED_FRAMES; returns its (frames, damaged frames)."""
    wanted = itertools.count(0, planned.step) if planned.chosen is None else iter(planned.chosen)
    next_wanted, num_decoded, num_stored, num_guessed = next(wanted), 0, 0, 0
    scaler = Scaler()
    turn = UPRIGHT
    for frame in frames:
        if num_decoded == 0:
            turn = orientation(frame)
        if num_decoded == next_wanted and num_stored < MAX_STORED_FRAMES:
            if (matrix := MATRICES.get(frame.colorspace)) is not None:
                frame.colorspace = matrix
            out.write(picture(frame, spec, scaler, turn).tobytes())
            num_stored += 1
            next_wanted = next(wanted, -1)
        num_decoded += 1
        num_guessed += frame.is_corrupt
    return num_decoded, num_guessed


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


def plane_shapes(size: int) -> tuple[tuple[int, int], ...]:
    """The planes Y, U, V of a 4:2:0 frame of size x size pixels."""
    half = (size + 1) // 2
    return (size, size), (half, half), (half, half)


def stream_planes(stream: Packets, size: int) -> bytes:
    """The planes Y, U, V of each frame of an elementary stream, in order of display.

    Raises BadStream unless every packet is whole and decodes to one frame of size x size, 8 bits, 4:2:0. A frame that the
    decoder had to guess in part is refused, too, since guesses are not specified.
    """
    context = _stream_context(CodecContext.create(DECODERS[stream.codec], "r"), {
        **STREAM_OPTIONS[stream.codec],
        "max_pixels": str((size + PADDING) ** 2),  # checked in the header, before memory is allocated
    })  # fmt: skip
    frames: list[bytes] = []
    av.logging.set_level(av.logging.WARNING)
    with av.logging.Capture() as messages:
        for packet in [*map(Packet, stream.packets), None]:
            try:
                shown = context.decode(packet)
            except MemoryError:  # FFmpeg has one of its own, which is also an FFmpegError
                raise
            except av.FFmpegError as error:
                reason = messages[0][2].strip() if messages else error.strerror
                raise BadStream(f"cannot be decoded at frame {len(frames)} of {size}x{size} pixels: {reason}") from None
            frames += [_planes(frame, size) for frame in shown]
            if messages:
                raise BadStream(f"is damaged at frame {len(frames)}: {messages[0][2].strip()}")
            if stream.codec == "av1" and len(shown) != (packet is not None):
                raise BadStream(f"shows {len(shown)} frames in temporal unit {len(frames)}; allowed: 1")
    if len(frames) != len(stream.packets):
        raise BadStream(f"decodes to {len(frames)} frames instead of {len(stream.packets)}")
    return b"".join(frames)


def _stream_context(context: CodecContext, options: dict[str, str]) -> VideoCodecContext:
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    context.options = options
    return context


def _planes(frame: VideoFrame, size: int) -> bytes:
    if (frame.width, frame.height) != (size, size):
        raise BadStream(f"has a frame of {frame.width}x{frame.height} pixels; allowed: {size}x{size}")
    if frame.format.name not in {"yuv420p", "yuvj420p"}:  # j: the stream claims full range
        raise BadStream(f"has the pixel format {frame.format.name}; allowed: yuv420p, 8 bits")
    if frame.is_corrupt:
        raise BadStream("is damaged: a part of a frame is missing")
    if frame.interlaced_frame:
        raise BadStream("is interlaced; allowed: progressive frames")
    if frame.side_data.get("FILM_GRAIN_PARAMS") is not None:
        raise BadStream("uses film grain, which is noise made by the decoder; encode it with film-grain=0")
    rows = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    return b"".join(p[:h, :w].tobytes() for p, (h, w) in zip(rows, plane_shapes(size), strict=True))


def encode_stream(frames: Iterable[tuple[np.ndarray, ...]], codec: Codec, crf: int, size: int) -> bytes:
    """An elementary stream of frames (Y, U, V), uint8 arrays of `plane_shapes`. Same frames, same bytes on one machine.

    Raises ValueError if the encoder refuses the size, e.g. an odd one for H.264.
    """
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings otherwise; it reads no other setting
    name, options = ENCODERS[codec]
    context = _stream_context(CodecContext.create(name, "w"), {**options, "crf": str(crf)})
    context.width = context.height = size
    context.pix_fmt, context.framerate, context.time_base = "yuv420p", Fraction(25), Fraction(1, 25)
    parts: list[bytes] = []
    try:
        for i, planes in enumerate(frames):
            frame = VideoFrame(size, size, "yuv420p")
            frame.pts = i
            for plane, pixels in zip(frame.planes, planes, strict=True):
                padded = np.zeros((len(pixels), plane.line_size), np.uint8)
                padded[:, : pixels.shape[1]] = pixels
                plane.update(padded.tobytes())
            parts += map(bytes, context.encode(frame))
        parts += map(bytes, context.encode(None))
    except av.FFmpegError as error:
        raise ValueError(f"{name} cannot encode clips of {size}x{size} pixels at crf {crf}: {error.strerror}") from None
    return b"".join(parts)


def start_worker() -> None:
    """Initialises a process of the pool: silences FFmpeg, and ends the process when its parent ends or is killed."""
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
    """Writes uint8 frames [H, W, 3] as a video, for `bench --prepare`. Raises OSError."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_count = 1  # with more threads the bytes would differ
        stream.codec_context.bit_rate = bit_rate
        for i, pixels in enumerate(frames):
            if i == 0:
                stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "yuv420p"
            container.mux(stream.encode(VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
