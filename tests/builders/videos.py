"""Small real videos whose grey level encodes the frame number: frame i has the level 16 + 6*i."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from vddbench.data.sources.folder import checked_spec
from vddbench.data.stored_frames import write_frames
from vddbench.spec import DatasetSpec

MPEG4, H264, VP9 = ("mpeg4", {"qmin": "1", "qmax": "2", "g": "1"}), ("libx264", {}), ("libvpx-vp9", {})
CODECS: dict[str, tuple[str, dict[str, str]]] = {".avi": MPEG4, ".mp4": H264, ".webm": VP9, ".mkv": H264, ".mov": MPEG4}
FIRST, STEP, CYCLE = 16, 6, 38  # grey level of frame 0, step per frame; number of frames after which the levels repeat


def write_video(path: Path, num_frames: int, size: tuple[int, int] = (48, 40), first: int = 0) -> Path:
    """Writes a video of `size` (w, h) in the codec of the extension; its first frame has the number `first`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        codec, options = CODECS[path.suffix]
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(first, first + num_frames):
            grey = np.full((size[1], size[0], 3), FIRST + STEP * (i % CYCLE), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Writes an mp4 with a second of silence and no picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_folder(folder: Path, classes: tuple[str, ...] = ("left", "right"), train: int = 3, test: int = 1) -> Path:
    """Writes DIR/{train,test}/<class>/N.avi with videos of 9, 10, ... frames."""
    for label, name in enumerate(classes):
        for part, count in (("train", train), ("test", test)):
            for i in range(count):
                write_video(folder / part / name / f"{i}.avi", 9 + i, first=10 * label)
    return folder


def copies(video: Path, folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(video, folder / name)


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers of these frames in their video."""
    return [round((float(frame.mean()) - FIRST) / STEP) for frame in frames]


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg command to compare with")


def spec(frames: int = 8, size: int = 32, stride: int | str = 2, resize: tuple[int, int] | None = None) -> DatasetSpec:
    return checked_spec(
        class_names=("a", "b"), frames=frames, size=size, stride=stride, resize=resize, hflip_keeps_label=False,
        num_videos=None, validation_groups=(), student_steps={"1": 1}, source="", licence="",
    )  # fmt: skip


def stored(path: Path, of: DatasetSpec) -> tuple[int, np.ndarray]:
    """(stride, stored frames [n, H, W, C]) of a video."""
    out = io.BytesIO()
    written = write_frames(path, of, out)
    frames = np.frombuffer(out.getvalue(), np.uint8).reshape(-1, of.size, of.size, 3)
    assert len(frames) == written.num_frames
    return written.stride, frames


def by_ffmpeg(path: Path, filters: str, size: int) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", filters, "-fps_mode", "passthrough"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, size, size, 3)


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path
