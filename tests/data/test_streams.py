"""Elementary streams decode to the same bytes with every version of FFmpeg; others are refused within limits."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import av
import numpy as np
import pytest

from tests.builders import streams
from tests.builders.streams import AV1, FRAMES, H264, SIZE
from vddbench.data import stream_process
from vddbench.data.elementary import START_CODE, BadStream, split
from vddbench.data.stream_codec import stream_planes
from vddbench.data.stream_process import planes_of


def planes(stream: bytes, size: int = SIZE, frames: int = FRAMES) -> bytes:
    return stream_planes(split(stream, frames), size)


# measured with FFmpeg 7.1.1, 8.0.1, 8.1.1 and 8.1.2 (PyAV 15.1, 16.1, 17.1 and 18.1)
@pytest.mark.parametrize(("stream", "digest"), [
    (AV1, "048a8ea6d32d72fb34026354abf2a1828972b02bdb2971d9934a3cee5c926622"),
    (H264, "27e8e12ec790531c51500067218e434462b77bd6c5018fa5df0aaa115cbc9fa7"),
])  # fmt: skip
def test_stored_streams_decode_to_pinned_planes(stream: bytes, digest: str) -> None:
    decoded = planes(stream)
    assert len(decoded) == FRAMES * SIZE * SIZE * 3 // 2
    assert hashlib.sha256(decoded).hexdigest() == digest


def test_ffmpegs_messages_are_ignored_again_after_a_stream() -> None:
    for stream in (AV1, AV1[:-5]):
        with suppress(BadStream):
            planes(stream)
        assert av.logging.get_level() is None


def test_units_that_change_no_pixels_are_skipped() -> None:
    metadata = bytes([5 << 3 | 2, 3, 1, 0, 0])
    assert planes(AV1.replace(b"\x12\x00", b"\x12\x00" + metadata)) == planes(AV1)
    sei = START_CODE + bytes([6, 5, 1, 0, 0x80])
    assert planes(sei + H264) == planes(H264)


def test_two_streams_in_one_are_one_clip_if_their_frames_add_up() -> None:
    half = streams.av1(frames=2)
    assert planes(half * 2) == planes(half, frames=2) * 2
    with pytest.raises(BadStream, match="has 8 frames; allowed: exactly 4"):
        planes(AV1 * 2)


def test_h264_is_cropped_to_the_pixel() -> None:
    whole = np.frombuffer(planes(streams.h264(24), 24), np.uint8).reshape(FRAMES, -1)[:, : 24 * 24].reshape(FRAMES, 24, 24)
    cropped = planes(streams.h264(24, params=":crop-rect=2,4,6,4"))
    luma = np.frombuffer(cropped, np.uint8).reshape(FRAMES, -1)[:, : SIZE * SIZE].reshape(FRAMES, SIZE, SIZE)
    assert np.array_equal(luma, whole[:, 4:20, 2:18])


def refusal(stream: bytes, size: int = SIZE) -> str:
    with pytest.raises(BadStream) as refused:
        planes(stream, size)
    return str(refused.value)


def test_wrong_streams_are_refused_in_a_sentence() -> None:
    assert "Frame size 16384x16384 exceeds limit" in refusal(streams.av1_of_size(16384))
    assert "Picture size 512x512 exceeds" in refusal(streams.h264(512, 1) * 4)
    assert refusal(streams.av1(17)) == refusal(streams.av1_of_size(17)) == "has a frame of 17x17 pixels; allowed: 16x16"
    assert "has a frame of 32x32 pixels" in refusal(streams.av1(frames=2) + streams.av1(32, 2))  # it grows in the middle
    assert "has a frame of 32x32 pixels" in refusal(streams.h264(frames=2) + streams.h264(32, 2))
    assert "has 5 frames; allowed: exactly 4" in refusal(streams.av1(frames=5))
    assert "has 3 frames" in refusal(streams.h264(frames=3))
    assert "has 5,004 frames" in refusal(AV1 + b"\x12\x00" * 5000)
    assert refusal(b"\x12\x00" * 4) == "shows 0 frames in temporal unit 0; allowed: 1 (0 if it is cut short)"
    for pixel_format in ("yuv420p10le", "yuv444p"):
        assert f"has the pixel format {pixel_format}; allowed: yuv420p" in refusal(streams.h264(pixel_format=pixel_format))
    assert "has the pixel format yuv420p10le" in refusal(streams.av1(pixel_format="yuv420p10le"))
    assert "uses film grain" in refusal(streams.av1(64, params=":film-grain=20"), 64)
    assert "is interlaced" in refusal(streams.h264(params=":tff=1"))
    assert "has several slices in picture" in refusal(streams.h264(32, params=":slices=2"), 32)
    assert "begins with the bytes 52 49 46 46; allowed: AV1" in refusal(b"RIFF....AVI ")
    assert "has a NAL unit of type 20" in refusal(H264 + START_CODE + b"\x74\x80")
    assert "has layers" in refusal(AV1 + b"\x36\x00\x00")
    for cut in range(1, 30):
        assert "is cut short" in refusal(AV1[:-cut]) or "has 3 frames" in refusal(AV1[:-cut])
    for end in range(150, 190):  # in the first slice
        assert "frame" in refusal(H264[:end])


def test_any_change_of_bytes_gives_whole_frames_or_a_sentence() -> None:
    rng = np.random.default_rng(0)
    for good in (AV1, H264):
        for _ in range(150):
            damaged = bytearray(good)
            damaged[int(rng.integers(len(good)))] ^= 1 << int(rng.integers(8))
            try:
                assert len(planes(bytes(damaged))) == FRAMES * SIZE * SIZE * 3 // 2
            except BadStream as error:
                assert str(error)


def test_one_child_decodes_all_streams_and_the_caller_knows_which_one_failed() -> None:
    """The stream behind a bad one isn't decoded."""
    done = 0
    with pytest.raises(BadStream, match="has 2 frames"):
        for luma, blue, red in planes_of([H264, AV1, streams.av1(frames=2), AV1], FRAMES, SIZE):
            assert b"".join(luma[0]) + b"".join(blue[0]) + b"".join(red[0]) == planes([H264, AV1][done])[: SIZE * SIZE * 3 // 2]
            done += 1
    assert done == 2


@pytest.mark.long
def test_a_stream_that_takes_too_long_or_too_much_memory_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_process, "SECONDS", 0.5)
    monkeypatch.setattr(stream_process, "SECONDS_PER_PIXEL", 0)
    slow = streams.with_hidden_frames(150_000, size=112, frames=8)
    answers = planes_of([streams.av1(112, 8), slow], 8, 112)
    next(answers)
    with pytest.raises(BadStream, match="takes too much CPU time to decode"):
        next(answers)
    monkeypatch.setattr(stream_process, "MEMORY_BYTES", 2 * 10**6)
    with pytest.raises(BadStream, match=r"needs more than 2,000,000 bytes of memory|get_buffer\(\) failed"):
        next(planes_of([streams.h264(1024, 1)], 1, 1024))  # frames of 1.6 MB, several of them
