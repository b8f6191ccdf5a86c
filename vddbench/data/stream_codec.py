"""Decodes and encodes AV1 and H.264 streams of submissions, one packet per frame; also encodes ordinary video files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vddbench.data.elementary import BadStream, Codec, Packets

# software decoders that follow the codec's specification to the bit, by name: FFmpeg's own choice may be one of the GPU
DECODERS: dict[Codec, str] = {"av1": "libdav1d", "h264": "h264"}
STREAM_OPTIONS: dict[Codec, dict[str, str]] = {
    "av1": {"export_side_data": "film_grain"},  # grain is described beside the frame, not added to it
    # strict: frames in order of display, not in a guessed order; unaligned: cropped to the pixel; explode: damage is an error
    "h264": {"strict": "strict", "flags": "unaligned", "err_detect": "explode"},
}
# With their options besides crf. One thread, so that the bytes are the same. no-asm, because with x264's code for AVX-512 the
# bytes depended on what freed memory held.
ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    "av1": ("libsvtav1", {"preset": "4", "svtav1-params": "lp=1:film-grain=0"}),
    "h264": ("libx264", {"preset": "slow", "x264-params": "threads=1:slices=1:no-asm=1"}),
}
PADDING = 128  # pixels that FFmpeg adds to a side when it compares a frame with `max_pixels`, at most


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
    with _warnings() as messages:
        for packet in [*map(Packet, stream.packets), None]:
            try:
                shown = context.decode(packet)
            except MemoryError:  # FFmpeg has one of its own, which is also an FFmpegError
                raise
            except av.FFmpegError as error:
                reason = messages[0][2].strip() if messages else str(error.strerror)
                reason = reason.partition(", see the documentation")[0]  # on FFmpeg's own limit of pixels
                raise BadStream(f"cannot be decoded at frame {len(frames)} of {size}x{size} pixels: {reason}") from None
            frames += [_planes(frame, size) for frame in shown]
            if messages:
                raise BadStream(f"is damaged at frame {len(frames)}: {messages[0][2].strip()}")
            if stream.codec == "av1" and len(shown) != (packet is not None):
                raise BadStream(f"shows {len(shown)} frames in temporal unit {len(frames)}; allowed: 1 (0 if it is cut short)")
    if len(frames) != len(stream.packets):
        raise BadStream(f"decodes to {len(frames)} frames instead of {len(stream.packets)}")
    return b"".join(frames)


@contextmanager
def _warnings() -> Iterator[list[tuple[int, str, str]]]:
    """Collects FFmpeg's warnings (level, name, message) inside the block.

    Outside PyAV ignores them, its default: while it passes messages to Python, threads of an encoder can wait for each other
    forever (PyAV's issue 751).
    """
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as messages:
            yield messages
    finally:
        av.logging.set_level(before)


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
        with ordinary_priority():
            context.open()
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


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Takes back the real-time priority that SVT-AV1, if it runs as root, gives its threads and, for good, the calling one.

    A real-time thread that waits in a loop, as those of PyTorch and V8 do, stops all others of its core, even the awaited ones.
    """
    if not hasattr(os, "sched_getscheduler"):  # not on macOS and Windows
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended
                if os.sched_getscheduler(int(thread.name)) == os.SCHED_FIFO:
                    os.sched_setscheduler(int(thread.name), *before)


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
