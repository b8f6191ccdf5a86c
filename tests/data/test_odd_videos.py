"""Videos as they come: damaged, odd in size, colour or time. Each is stored as pinned here, or listed with a reason."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.builders.videos import (
    CODECS,
    CYCLE,
    FIRST,
    STEP,
    by_ffmpeg,
    needs_ffmpeg,
    numbers,
    spec,
    stored,
    write_sound,
    write_video,
)
from vddbench.data.decode import UnreadableVideo

Level = float | tuple[float, float, float]  # of grey, or of red, green and blue; from 0 to 1


def picture(level: Level, size: tuple[int, int], pixels: str) -> av.VideoFrame:
    """One colour, as a frame of the pixel format. Made with 16 bits, so that it has those of formats with more than 8."""
    rgb = np.broadcast_to(np.round(np.array(level) * 65535), (size[1], size[0], 3)).astype(np.uint16)
    return av.VideoFrame.from_ndarray(rgb, format="rgb48le").reformat(format=pixels)


def grey(number: int) -> float:
    return (FIRST + STEP * number) / 255


def write(
    path: Path,
    codec: str,
    pixels: str = "yuv420p",
    size: tuple[int, int] = (48, 40),
    levels: Sequence[Level] = tuple(map(grey, range(12))),
    times: Sequence[int] | None = None,
    **options: str,
) -> Path:
    """A frame a level; `times`: when each is shown, in milliseconds."""
    shifted = {"avoid_negative_ts": "disabled"} if options.pop("negative", "") else {}
    with av.open(str(path), "w", options=shifted) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, level in enumerate(levels):
            frame = picture(level, size, pixels)
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# Colours


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mkv", "ffv1", "gray"), ("a.mkv", "ffv1", "gray10le"), ("a.mkv", "ffv1", "gray16le"),
        ("a.mov", "png", "gray"), ("a.mov", "png", "gray16be"), ("a.mov", "png", "rgb48be"),
        ("a.mp4", "libx264", "yuv420p10le"), ("a.mp4", "libx264", "yuv444p"),
        ("a.avi", "mjpeg", "yuvj420p"), ("a.avi", "rawvideo", "bgr24"), ("a.mkv", "ffv1", "bgra"),
    ],
)  # fmt: skip
def test_grey_of_any_depth_is_stored_as_the_8_bits_it_rounds_to(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    _, frames = stored(write(tmp_path / name, codec, pixels), spec(stride=1))
    assert numbers(frames) == list(range(12)) and frames.shape == (12, 32, 32, 3)
    assert np.ptp(frames, axis=3).max() <= 3  # grey


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.webm", "-c:v libvpx-vp9 -profile:v 2 -pix_fmt yuv420p10le"), ("a.mp4", "-c:v libx264 -pix_fmt gray"),
        ("a.webm", "-c:v libvpx-vp9 -profile:v 2 -pix_fmt yuv420p12le"), ("a.mkv", "-c:v libx264 -pix_fmt yuv422p10le"),
    ],
)  # fmt: skip
def test_depths_that_only_the_ffmpeg_command_can_write_are_read_as_it_reads_them(
    tmp_path: Path, name: str, options: str
) -> None:
    pattern = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-frames:v", "12"]
    run = subprocess.run(["ffmpeg", "-v", "error", *pattern, *options.split(), str(tmp_path / name)], check=False)
    if run.returncode:
        pytest.skip("this ffmpeg command can't write it")
    _, frames = stored(tmp_path / name, spec(stride=1, resize=(40, 36)))
    reference = by_ffmpeg(tmp_path / name, "scale=40:36,crop=32:32", 32)
    assert frames.shape == reference.shape and np.abs(frames.astype(int) - reference).mean() < 4


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.mov", "png", "rgb48be"), ("a.mov", "png", "rgba"), ("a.mov", "png", "rgba64be"), ("a.mkv", "ffv1", "bgra")],
)
def test_colours_keep_their_order_and_alpha_is_dropped(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    _, frames = stored(write(tmp_path / name, codec, pixels, levels=[(0.9, 0.5, 0.1)] * 8), spec(stride=1))
    assert abs(frames.astype(int) - [230, 128, 26]).max() <= 1
    if "a" in pixels:
        clear = tmp_path / f"clear{Path(name).suffix}"
        with av.open(str(clear), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 40, pixels
            rgba = np.full((40, 48, 4), (230, 128, 26, 0), np.uint8)  # transparent
            for _ in range(8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pixels)))
            container.mux(stream.encode())
        assert abs(stored(clear, spec(stride=1))[1].astype(int) - [230, 128, 26]).max() <= 1


# Sizes


@pytest.mark.parametrize("size", [(321, 241), (17, 400), (400, 17), (33, 33), (2, 2), (1, 1)])
def test_odd_sizes_are_scaled_by_their_short_side_and_cropped_in_the_middle(tmp_path: Path, size: tuple[int, int]) -> None:
    _, frames = stored(write(tmp_path / "a.mkv", "ffv1", "bgr0", size), spec(stride=1))
    assert numbers(frames) == list(range(12))


@pytest.mark.parametrize("size", [(321, 241), (17, 400)])
def test_odd_sizes_of_codecs_with_half_the_colour_are_read_too(tmp_path: Path, size: tuple[int, int]) -> None:
    assert numbers(stored(write(tmp_path / "a.webm", "libvpx-vp9", size=size), spec(stride=1))[1]) == list(range(12))


def test_a_video_longer_than_wide_by_a_thousand_times_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", "ffv1", "gray", (4, 16_000), levels=[0.5] * 8)
    with pytest.raises(UnreadableVideo, match="frames of 4x16000 are too elongated"):
        stored(path, spec(size=112))


def test_a_video_that_changes_its_size_is_scaled_frame_by_frame(tmp_path: Path) -> None:
    """As players do; each frame is a picture of its own in mjpeg."""
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuvj420p"
        for i in range(12):
            coder = av.CodecContext.create("mjpeg", "w")
            coder.width, coder.height = (48, 40) if i < 6 else (96, 48)
            coder.pix_fmt, coder.time_base = "yuvj420p", Fraction(1, 25)
            frame = picture(grey(i), (coder.width, coder.height), "yuvj420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            for packet in [*coder.encode(frame), *coder.encode()]:
                packet.stream = stream
                packet.pts = packet.dts = i
                container.mux(packet)
    _, frames = stored(tmp_path / "a.avi", spec(stride=1))
    assert numbers(frames) == list(range(12))


def test_a_display_matrix_of_nonsense_does_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    for matrix in ([0] * 9, [-(1 << 31)] * 9, [(1 << 31) - 1] * 9):
        content[at : at + 36] = struct.pack(">9i", *matrix)
        path.write_bytes(content)
        assert numbers(stored(path, spec(stride=1))[1]) == list(range(12))


# Time


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx-vp9"), (".mp4", "libx264")])
@pytest.mark.parametrize("times", [[0, 5, 500, 510, 520, 4000, 4040, 4080, 4120, 4130, 4140, 9000], range(0, 1200, 100)])
def test_frames_are_counted_whenever_they_are_shown(tmp_path: Path, suffix: str, codec: str, times: Sequence[int]) -> None:
    path = write(tmp_path / f"a{suffix}", codec, times=times)
    assert numbers(stored(path, spec(stride=1))[1]) == list(range(12))
    assert numbers(stored(path, spec(frames=4, stride=2))[1]) == list(range(0, 12, 2))
    assert numbers(stored(path, spec(frames=4, stride="even"))[1]) == [0, 3, 6, 9]


@pytest.mark.parametrize(("suffix", "expected"), [(".mkv", range(12)), (".mp4", [10, 11] * 4)])
def test_frames_before_time_zero_are_stored_but_for_those_that_an_edit_list_hides(
    tmp_path: Path, suffix: str, expected: Sequence[int]
) -> None:
    """No player shows these; FFmpeg writes such a list into an mp4 that is cut without coding anew."""
    path = write(tmp_path / f"a{suffix}", "mpeg4", times=range(-400, 80, 40), negative="kept", bf="0")
    assert numbers(stored(path, spec(stride=1))[1]) == list(expected)


def test_a_video_of_no_duration_is_as_long_as_its_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", "mpeg4")
    content = bytearray(path.read_bytes())
    for box, at in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        begin = content.index(box) + 4 + at  # version 0: after flags, two times, the scale or the track's number
        content[begin : begin + 4] = bytes(4)
    path.write_bytes(content)
    assert numbers(stored(path, spec(stride=1))[1]) == list(range(12))


@pytest.mark.parametrize("suffix", CODECS)
def test_one_frame_fills_a_clip(tmp_path: Path, suffix: str) -> None:
    stride, frames = stored(write_video(tmp_path / f"a{suffix}", 1, first=5), spec())
    assert stride == 1 and numbers(frames) == [5] * 8


def test_ten_thousand_frames_are_stored_in_their_order_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "gray"
        for i in range(10_000):
            level = FIRST + STEP * (i % CYCLE)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((8, 8), level, np.uint8), format="gray")))
        container.mux(stream.encode())
    stride, frames = stored(path, spec(size=8, stride=3))
    assert stride == 3 and numbers(frames) == [i % CYCLE for i in range(0, 10_000, 3)]
    with pytest.raises(UnreadableVideo, match="more than 4,096 frames to store: 10,000 with a stride of 1"):
        stored(path, spec(size=8, stride=1))


def test_interlaced_frames_are_stored_as_they_are_woven(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    woven = np.zeros((32, 32, 3), np.uint8)
    woven[::2] = 200  # the first field
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"flags": "+ildct+ilme", "qmin": "1", "qmax": "1"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(woven, format="rgb24")))
        container.mux(stream.encode())
    rows = stored(path, spec(stride=1))[1].mean((0, 2, 3))
    assert (rows[::2] > 150).all() and (rows[1::2] < 50).all()


# Streams


def test_a_file_of_sound_or_of_a_cover_has_no_video(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "sound.mp4")
    with pytest.raises(UnreadableVideo, match="no video stream"):
        stored(sound, spec())
    with pytest.raises(UnreadableVideo, match="no video stream"):
        stored(with_cover(sound, tmp_path / "cover.mp4"), spec())


@needs_ffmpeg
def test_the_video_is_read_and_not_the_cover_before_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 12)
    assert numbers(stored(with_cover(path, tmp_path / "cover.mp4"), spec(stride=1))[1]) == list(range(12))


def with_cover(path: Path, out: Path) -> Path:
    """The first stream of the file is an attached picture."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg command here")
    with av.open(str(out.with_suffix(".png")), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        container.mux(stream.encode(picture(1.0, (16, 16), "rgb24")))
        container.mux(stream.encode())
    inputs = ["-i", str(out.with_suffix(".png")), "-i", str(path), "-map", "0", "-map", "1", "-c", "copy"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, "-disposition:v:0", "attached_pic", str(out)], check=True)
    return out
