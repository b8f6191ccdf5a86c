"""Elementary video streams: two stored ones, and others made by the encoders of the wheel, e.g. with an odd pixel format."""

from __future__ import annotations

from base64 import b64decode
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from vddbench.data.elementary import _obus
from vddbench.data.stream_codec import ordinary_priority

FRAMES, SIZE = 4, 16  # of the dataset of builders/submissions.py
AV1 = b64decode(
    "EgAKCgAAAAGf+dXyAIAyUxAAloAAAAABAD03cesadgzaeueWwhEG/JAlCglCN9UqU79UsP3CJQFKjDorwTiRebuudKvl0LjU/RloDedVZV6M4C"
    "fYRpDc+45VQyhkQp5KTomEEgAyOigCACSSST1PAAABAAOAAMM0ejltKQDxLYqWIfa6Ttr5LsOTyR/5gbZCXxJu1tFRqApGR0DzmPS+ZqIyIDAC"
    "BAkkAHrwAAACAAMAAGPxr8asWblSslydBoRIUWqNEgAaAYgSADIeMAYCAYAAevAAAAIAAAAe3qRmPNKiH7AOgo3pmjBA"
)
H264 = b64decode(
    "AAAAAWdkAAqs2Z6EAAADAAQAAAMAyDxIlmgAAAABaOl4bLIsAAAAAWWIhAAp/z/7GuQs9bN6fU6oxjatCwGs2VVM3eZgtQ/Zl2c0lnow1LQ6eR"
    "J3Z+Q1vA+UxF8gmo2HOGpzvo8Zp2djrJHfJcTFTBPqV4EAAAABQZojbELf+iXfmWxAGWOEzvekG2T9n5S7jIs9/9+122iGutqSB82+RFoFCtHa"
    "mY36ZmTngAAAAAFBnkE4hb/8YA+ObwAAAAEBnmJqQt/8WKKcXg=="
)


def moving(size: int = SIZE, frames: int = FRAMES) -> np.ndarray:
    """uint8 RGB [T, size, size, 3]: a smooth pattern that moves to the right."""
    y, x = np.mgrid[:size, :size]
    wave = [np.sin((x - 2 * t) * 0.5 + y * step) for t in range(frames) for step in (0.1, 0.2, 0.4)]
    pattern = np.stack(wave).reshape(frames, 3, size, size).transpose(0, 2, 3, 1)
    return (128 + 100 * pattern).astype(np.uint8)


def encoded(
    encoder: str, options: dict[str, str], *, size: int = SIZE, frames: int = FRAMES, pixel_format: str = "yuv420p"
) -> bytes:
    """The elementary stream of `moving`, from an encoder and its options by FFmpeg's names."""
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width = context.height = size
    context.pix_fmt, context.framerate, context.time_base, context.thread_count = pixel_format, Fraction(25), Fraction(1, 25), 1
    context.options = options
    with ordinary_priority():
        context.open()
    pictures = [
        VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format) for pixels in moving(size, frames)
    ]
    for number, picture in enumerate(pictures):
        picture.pts = number
    return b"".join(bytes(packet) for picture in [*pictures, None] for packet in context.encode(picture))


def av1(size: int = SIZE, frames: int = FRAMES, params: str = "", pixel_format: str = "yuv420p") -> bytes:
    options = {"preset": "8", "crf": "40", "svtav1-params": f"lp=1{params}"}
    return encoded("libsvtav1", options, size=size, frames=frames, pixel_format=pixel_format)


def h264(size: int = SIZE, frames: int = FRAMES, params: str = "", pixel_format: str = "yuv420p") -> bytes:
    options = {"preset": "ultrafast", "crf": "30", "x264-params": f"threads=1{params}"}
    return encoded("libx264", options, size=size, frames=frames, pixel_format=pixel_format)


def av1_of_size(side: int) -> bytes:
    """`AV1` with a sequence header that claims frames of side x side pixels, at most 65,536."""
    length = AV1[3]
    bits = "".join(f"{byte:08b}" for byte in AV1[4 : 4 + length])
    old = int(bits[29:33], 2) + 1  # the bits of a side, in frame_width_bits_minus_1
    header = f"{bits[:29]}{15:04b}{15:04b}{side - 1:016b}{side - 1:016b}{bits[37 + 2 * old :]}"
    packed = bytes(int(header[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(header), 8))
    return AV1[:3] + bytes([len(packed)]) + packed + AV1[4 + length :]


def with_hidden_frames(count: int, size: int, frames: int) -> bytes:
    """AV1 in which a frame that is decoded and never shown comes `count` times."""
    options = {"preset": "4", "crf": "50", "svtav1-params": "lp=1"}
    stream = encoded("libsvtav1", options, size=size, frames=frames, pixel_format="yuv420p")
    # an OBU_FRAME whose first bits are show_existing_frame 0, frame_type, show_frame 0
    hidden = next(obu for kind, obu in _obus(stream) if kind == 6 and not obu[1 + (obu[1] > 127) + 1] & 0x90)
    return stream.replace(hidden, hidden * count)
