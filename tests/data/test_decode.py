"""What decoding keeps of a video, and what it refuses."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from tests.builders.stores import SHARED
from tests.builders.videos import by_ffmpeg, cut, needs_ffmpeg, numbers, spec, stored, write_sound, write_video
from vddbench.data import decode as video
from vddbench.data import stored_frames
from vddbench.data.datasets import miniucf
from vddbench.data.decode import UnreadableVideo
from vddbench.data.stored_frames import plan, store_video, write_frames

UCF_AVI = SHARED / "data" / "ucf_avi" / "v_ApplyEyeMakeup_g01_c01.avi"
needs_ucf = pytest.mark.skipif(not UCF_AVI.is_file(), reason="no UCF101 video beside the checkout")


@needs_ucf
@needs_ffmpeg
def test_a_ucf_clip_equals_the_reference_of_the_ffmpeg_command() -> None:
    stride, frames = stored(UCF_AVI, miniucf.SPEC)
    reference = by_ffmpeg(UCF_AVI, "select='not(mod(n,4))',scale=160:120,crop=112:112", 112)
    assert stride == 4 and frames.shape == reference.shape == (41, 112, 112, 3)  # 164 frames decode
    clip, expected = frames[:16].astype(int), reference[:16].astype(int)
    assert np.abs(clip - expected).mean() < 2
    shifted = np.abs(frames[1:17].astype(int) - expected).mean()  # the test would notice one frame too late
    assert np.abs(clip - expected).mean() < shifted / 2


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".webm", ".mkv", ".mov"])
def test_every_second_frame_of_every_container_is_stored(tmp_path: Path, suffix: str) -> None:
    stride, frames = stored(write_video(tmp_path / f"clip{suffix}", 25), spec())
    assert stride == 2 and numbers(frames) == list(range(0, 25, 2))


@pytest.mark.parametrize(
    ("num_frames", "stride", "expected"),
    [
        (24, 3, list(range(0, 24, 3))),  # T * stride frames: just enough
        (23, 3, list(range(0, 23, 2))),  # fewer: 23 // 8 = 2
        (15, 3, list(range(15))),
        (8, 3, list(range(8))),
        (5, 3, [0, 1, 2, 3, 4, 0, 1, 2]),  # shorter than T: repeats from its start
        (1, 3, [0] * 8),
        (20, "even", [0, 2, 5, 7, 10, 12, 15, 17]),  # floor(i * 20 / 8)
        (8, "even", list(range(8))),
        (3, "even", [0, 1, 2, 0, 1, 2, 0, 1]),
    ],
)
def test_the_stored_frames_of_a_video_of_n_frames(
    tmp_path: Path, num_frames: int, stride: int | str, expected: list[int]
) -> None:
    _, frames = stored(write_video(tmp_path / "clip.avi", num_frames), spec(stride=stride))
    assert numbers(frames) == expected


@pytest.mark.parametrize("claim", [0, 3, 10_000])
@pytest.mark.parametrize("stride", [3, "even"])
def test_a_wrong_frame_count_in_the_header_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claim: int, stride: int | str
) -> None:
    path = write_video(tmp_path / "clip.avi", 20)
    honest = stored(path, spec(stride=stride))
    monkeypatch.setattr(stored_frames, "header_num_frames", lambda container, stream: claim)
    told = stored(path, spec(stride=stride))
    assert told[0] == honest[0] and np.array_equal(told[1], honest[1])


def test_short_side_to_size_keeps_the_aspect_and_the_centre(tmp_path: Path) -> None:
    path = tmp_path / "bars.mp4"
    write_stripes(path)
    _, frames = stored(path, spec(size=32, stride=1))
    assert frames[0, :, :, 0].mean() > 200  # the middle third of the width is white, and exactly that is kept


def write_stripes(path: Path) -> None:
    """96x32: black, white, black thirds."""
    import av

    picture = np.zeros((32, 96, 3), np.uint8)
    picture[:, 32:64] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 32, "yuv420p"
        for _ in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


MATRICES = {  # tkhd's a, b, c, d
    "upright": (1, 0, 0, 1), "quarter": (0, 1, -1, 0), "half": (-1, 0, 0, -1), "three quarters": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1), "upside down": (1, 0, 0, -1), "transposed": (0, 1, 1, 0), "anti": (0, -1, -1, 0),
}  # fmt: skip


@needs_ffmpeg
@pytest.mark.parametrize("name", MATRICES)
def test_orientation_metadata_is_honoured_like_ffmpeg_does(tmp_path: Path, name: str) -> None:
    import av

    path = tmp_path / "phone.mp4"
    corner = np.full((48, 64, 3), 40, np.uint8)
    corner[:20, :40] = 220  # no symmetry
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corner, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of times, id, duration, layer, volume
    a, b, c, d = (65536 * x for x in MATRICES[name])
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    _, frames = stored(path, spec(size=32, stride=1, resize=(40, 36)))
    reference = by_ffmpeg(path, "scale=40:36,crop=32:32", 32)
    assert np.abs(frames[0].astype(int) - reference[0]).mean() < 4
    unturned = stored(write_video(tmp_path / "plain.mp4", 9), spec(size=32, stride=1))[1]
    assert unturned.shape == frames.shape


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".webm", ".mkv", ".mov"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_video_is_refused_though_some_frames_decode(tmp_path: Path, suffix: str, share: float) -> None:
    path = cut(write_video(tmp_path / f"clip{suffix}", 60), share)
    with pytest.raises(UnreadableVideo, match=r"cut short|cannot be decoded|damaged|no frames|no video stream"):
        stored(path, spec())


@needs_ucf
def test_a_truncated_ucf_avi_is_refused_and_one_without_its_index_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    shutil.copyfile(UCF_AVI, path)
    _, whole = stored(UCF_AVI, spec())
    _, frames = stored(cut(path, 0.995), spec())
    assert np.array_equal(frames, whole)
    with pytest.raises(UnreadableVideo, match="cut short"):
        stored(cut(path, 0.4), spec())


def test_files_that_are_not_videos_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.avi").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (tmp_path / "text.avi").write_text("hello")
    (tmp_path / "gone.avi").symlink_to(tmp_path / "nowhere")
    write_sound(tmp_path / "sound.mp4")
    reasons = {}
    for path in tmp_path.iterdir():
        with pytest.raises(UnreadableVideo) as refusal:
            store_video(path, spec(), tmp_path / "part")
        reasons[path.name] = str(refusal.value)
    assert reasons["empty.avi"] == "empty file"
    assert reasons["sound.mp4"] == "no video stream"
    assert "No such file" in reasons["gone.avi"]
    assert all(reasons[name].startswith("cannot be decoded: Invalid data") for name in ("noise.mp4", "text.avi"))


def test_a_playlist_that_names_other_files_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "real.mp4", 20)
    (tmp_path / "list.avi").write_text("ffconcat version 1.0\nfile real.mp4\n")
    (tmp_path / "stream.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{tmp_path}/real.mp4\n")
    for name in ("list.avi", "stream.mp4"):
        with pytest.raises(UnreadableVideo, match="cannot be decoded"):
            stored(tmp_path / name, spec())


def test_absurd_sizes_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "clip.avi", 20)
    monkeypatch.setattr(video, "MAX_FRAMES", 19)
    with pytest.raises(UnreadableVideo, match="more than 19 frames"):
        stored(path, spec())
    monkeypatch.setattr(video, "MAX_PIXELS", 48 * 40 - 1)
    with pytest.raises(UnreadableVideo, match="48x40 pixels; allowed: "):
        stored(path, spec())


@pytest.mark.parametrize("claim", [3, 20, 10_000])
def test_a_video_of_too_many_frames_to_store_is_refused_and_a_larger_stride_keeps_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claim: int
) -> None:
    path = write_video(tmp_path / "clip.avi", 20)
    whole = stored(path, spec(frames=4, stride=2))
    monkeypatch.setattr(stored_frames, "MAX_STORED_FRAMES", 10)
    monkeypatch.setattr(stored_frames, "header_num_frames", lambda container, stream: claim)
    assert np.array_equal(stored(path, spec(frames=4, stride=2))[1], whole[1]) and len(whole[1]) == 10
    out = io.BytesIO()
    with pytest.raises(UnreadableVideo, match="more than 10 frames to store: 20 with a stride of 1"):
        write_frames(path, spec(frames=4, stride=1), out)
    assert out.tell() <= 10 * 32 * 32 * 3


def test_a_4k_video_is_still_read(tmp_path: Path) -> None:
    assert len(stored(write_video(tmp_path / "clip.mp4", 2, size=(4096, 2304)), spec())[1]) == 8


COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [150, 150, 90]], np.uint8)  # of four bands


def write_bt2020(path: Path, codec: str, *, bits: int, matrix: int, curve: int) -> Path:
    """Writes four bands of colour with the matrix of BT.2020 and limited range. matrix, curve: tags of H.273."""
    red, green, blue = COLOURS.repeat(16, axis=0).T / 255
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    planes = (16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8814, 128 + 224 * (red - luma) / 1.4746)
    frame = av.VideoFrame(64, 48, "yuv420p" if bits == 8 else "yuv420p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        row = np.zeros(plane.line_size // (1 if bits == 8 else 2), np.uint8 if bits == 8 else np.uint16)
        row[: plane.width] = np.round(values[:: 64 // plane.width] * 2 ** (bits - 8))
        plane.update(np.tile(row, (plane.height, 1)).tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8, options={"x265-params": "log-level=none"} if codec == "libx265" else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, frame.format.name
        for tagged in (stream.codec_context, frame):
            tagged.colorspace, tagged.color_trc, tagged.color_primaries, tagged.color_range = matrix, curve, 9, 1
        for i in range(8):
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("matrix", [9, 10])  # without and with constant luminance
@pytest.mark.parametrize(("codec", "bits", "curve"), [("libx264", 8, 1), ("libx265", 10, 18), ("libx265", 10, 16)])
def test_a_phones_bt2020_video_keeps_its_colours(tmp_path: Path, codec: str, bits: int, curve: int, matrix: int) -> None:
    path = write_bt2020(tmp_path / "phone.mp4", codec, bits=bits, matrix=matrix, curve=curve)  # curves: BT.709, HLG, PQ
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_trc, frame.color_primaries) == (matrix, curve, 9)
    _, frames = stored(path, spec(size=48, stride=1, resize=(64, 48)))
    bands = frames[:, 24, [2, 16, 32, 45]].astype(int)  # the crop begins at pixel 8; the bands are 16 wide
    assert np.abs(bands - COLOURS).max() <= 6


def test_colours_without_a_matrix_are_refused_with_their_tag(tmp_path: Path) -> None:
    path = write_bt2020(tmp_path / "clip.mp4", "libx264", bits=8, matrix=14, curve=1)  # 14: ICtCp
    with pytest.raises(UnreadableVideo, match=r"can't be converted to RGB: pixel format yuv420p, matrix 14 of H\.273"):
        stored(path, spec())


def test_a_video_that_takes_too_long_to_decode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MAX_DECODE_SECONDS", 0)
    with pytest.raises(UnreadableVideo, match="takes more than 0 s to decode"):
        stored(write_video(tmp_path / "clip.mp4", 25), spec())


def test_a_title_that_is_not_utf8_does_not_matter(tmp_path: Path) -> None:
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "kaffee"
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
        for _ in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((40, 48, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"kaffee", b"caf\xe9..", 1))
    assert stored(path, spec())[1].shape == (9, 32, 32, 3)


def test_every_length_has_a_plan_of_at_least_one_clip() -> None:
    for stride in (1, 3, 4, "even"):
        for n in range(1, 200):
            step, chosen = plan(n, 16, stride)
            indices = list(range(0, n, step)) if chosen is None else list(chosen)
            assert len(indices) >= min(n, 16) and indices[-1] < n and indices == sorted(set(indices))
            assert stride != "even" or len(indices) == min(n, 16)
