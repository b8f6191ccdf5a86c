"""The decoder `video`: its arithmetic, its tensors, and what its bytes cost. tests/data/test_streams.py has hostile streams."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders import streams
from tests.builders.streams import AV1, H264, moving
from tests.builders.submissions import BUDGET_BYTES, LABELS, SPEC, TASK, written
from vddbench.data.stream_codec import encode_stream
from vddbench.submissions import rules
from vddbench.submissions.check import check
from vddbench.submissions.decoders import video


def payload(*clips: bytes, dtype: torch.dtype = torch.int32) -> dict[str, torch.Tensor]:
    offsets = torch.tensor(np.cumsum([0, *map(len, clips)])).to(dtype)
    return {"stream": torch.frombuffer(bytearray(b"".join(clips)), dtype=torch.uint8), "offsets": offsets, "labels": LABELS}


def test_stored_streams_decode_to_pinned_clips_close_to_what_was_encoded() -> None:
    """Digests were measured with FFmpeg 7.1.1, 8.0.1, 8.1.1 and 8.1.2."""
    clips = video.decode(payload(AV1, H264, AV1), SPEC).clips
    digests = [hashlib.sha256(clip.numpy().tobytes()).hexdigest() for clip in clips]
    assert digests[0] == digests[2] == "6d6d5a3f00afca1a309db8cd8754014eb4ab7ccdf4d6acf94234de3a8c5fda67"
    assert digests[1] == "16bd0733b58fd53a0255d068c0fc42ac7bd3d81d161e3c1c76baca2407fbea22"
    for clip in clips[:2]:
        assert (clip.float() - torch.from_numpy(moving()).float()).abs().mean() < 15  # colour changes from pixel to pixel


def test_planes_become_rgb_as_bt601_says() -> None:
    """Black, white, 75 % colour bars, and values out of range, computed from the standard in floating point."""
    planes = np.random.default_rng(0).integers(0, 256, (3, 1, 6, 6), dtype=np.uint8)
    planes[0, 0, 0, :2] = [16, 235]
    planes[1:, 0, 0, 0] = 128
    y, cb, cr = (planes[0], planes[1][:, ::2, ::2], planes[2][:, ::2, ::2])
    rgb = video.to_rgb(y, cb, cr)
    kr, kb = 0.299, 0.114
    luma = (y - 16.0) / 219
    blue, red = ((c - 128.0).repeat(2, 1).repeat(2, 2) / 224 for c in (cb, cr))
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    exact = np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], -1).clip(0, 1) * 255
    assert np.abs(rgb - exact).max() <= 0.51
    assert rgb[0, 0, 0].tolist() == [0, 0, 0] and rgb[0, 0, 1].tolist() == [255, 255, 255]


def test_odd_sizes_have_chroma_planes_rounded_up() -> None:
    frames = np.full((2, 9, 9, 3), [200, 50, 90], np.uint8)
    planes = video.to_planes(frames)
    assert [plane.shape for plane in planes] == [(2, 9, 9), (2, 5, 5), (2, 5, 5)]
    assert np.abs(video.to_rgb(*planes).astype(int) - frames).max() <= 2


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_encoding_gives_the_same_bytes_whatever_runs_beside_it(codec: str) -> None:
    clips = torch.from_numpy(np.stack([moving(32, 4), moving(32, 4)[::-1], moving(32, 4)[:, ::-1]]))
    alone, beside = (video.encode(clips, codec, 40, threads=threads) for threads in (1, 3))  # type: ignore[arg-type]
    assert torch.equal(alone["stream"], beside["stream"]) and torch.equal(alone["offsets"], beside["offsets"])


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_encoding_gives_the_same_bytes_whatever_is_in_freed_memory(codec: str, tmp_path: Path) -> None:
    """glibc fills memory with MALLOC_PERTURB_; x264's code for AVX-512 gave other bytes for each value on this clip."""
    planes = video.to_planes(moving(32, 4)[:, ::-1])
    np.savez(tmp_path / "planes.npz", *planes)
    program = (
        "import sys, numpy as np; from vddbench.data.stream_codec import encode_stream\n"
        "planes = np.load(sys.argv[1]).values()\n"
        "sys.stdout.buffer.write(encode_stream(zip(*planes), sys.argv[2], 40, 32))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "planes.npz"), codec]
    streams = {
        subprocess.run(
            command, env=os.environ | {"MALLOC_PERTURB_": value}, capture_output=True, check=True, timeout=120
        ).stdout
        for value in ("7", "165")
    }
    assert streams == {encode_stream(zip(*planes, strict=True), codec, 40, 32)}  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no priorities of threads")
def test_encoding_leaves_threads_their_priority() -> None:
    """As root, SVT-AV1 makes itself and the calling thread real-time. Two such processes stopped each other for hours."""
    during: list[int] = []

    def watched(planes: list[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
        for i, frame in enumerate(planes):
            if i == 2:
                during.extend(os.sched_getscheduler(int(thread.name)) for thread in Path("/proc/self/task").iterdir())
            yield frame

    encode_stream(watched([*zip(*video.to_planes(moving(32, 4)), strict=True)]), "av1", 40, 32)
    assert len(during) > 3 and {*during, os.sched_getscheduler(0)} == {os.SCHED_OTHER}


@pytest.mark.parametrize(("change", "message"), [
    (lambda o: o[:-1], "has 3 entries; allowed: one per clip and one more, 4"),
    (lambda o: o + 1, "goes from 1 to"),
    (lambda o: torch.cat([o[:-1], o[-1:] + 10**12]), "goes from 0 to 1000"),
    (lambda o: torch.stack([o[0], o[2], o[1], o[3]]), "at entry 1; allowed: strictly increasing"),
])  # fmt: skip
def test_offsets_that_leave_the_bytes_are_refused(change: object, message: str) -> None:
    tensors = payload(AV1, H264, AV1, dtype=torch.int64)
    with pytest.raises(ValueError, match=f"tensor 'offsets' .*{message}"):
        video.decode({**tensors, "offsets": change(tensors["offsets"])}, SPEC)  # type: ignore[operator]


def test_every_byte_counts_and_a_bad_clip_is_named(tmp_path: Path) -> None:
    good = payload(AV1, H264, streams.av1())
    report = check(written(tmp_path, good, decoder="video"), SPEC)
    assert report.accepted and report.payload_bytes == len(good["stream"]) + 4 * 4 + 3 * 8 <= BUDGET_BYTES
    padding = b"\x7a" + bytes([0xFF, 0x7F]) + b"\x00" * 0x3FFF  # an OBU that no decoder looks at
    with pytest.raises(ValueError, match=r"payload of .* is .* over the budget of tiny-ipc1"):
        written(tmp_path, payload(AV1 + padding, H264, AV1), decoder="video", method="padded")
    with pytest.raises(ValueError, match=r"^clip 1 of tensor 'stream' \(\d+ bytes\) has 8 frames; allowed: exactly 4$"):
        written(tmp_path, payload(AV1, H264 * 2, AV1), decoder="video", method="long")


def test_clips_may_take_512_times_the_memory_of_the_budget() -> None:
    rules.check_expansion({"labels": torch.zeros(512 * 3)}, video, TASK, SPEC)
    with pytest.raises(ValueError, match="clips, 512 times the budget"):
        rules.check_expansion({"labels": torch.zeros(512 * 3 + 8)}, video, TASK, SPEC)
