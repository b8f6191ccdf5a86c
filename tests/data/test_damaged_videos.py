"""Damaged videos: each is listed with a reason, or its frames really decode; none crashes, hangs or loses half unseen."""

from __future__ import annotations

import csv
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pytest

from tests.builders.faults import listing
from tests.builders.videos import CODECS, cut, spec, stored, write_folder, write_video
from vddbench.data import decode as video
from vddbench.data.build import build_store
from vddbench.data.decode import UnreadableVideo
from vddbench.data.prepare import prepare
from vddbench.data.sources.folder import read_folder
from vddbench.data.stored_frames import store_video

pytestmark = pytest.mark.usefixtures("own_home")


def moving(path: Path, num_frames: int = 60) -> Path:
    """A square on a changing ground: unlike one grey it takes many bytes a frame."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (72, 96, 3), np.uint8)
    with av.open(str(path), "w") as container:
        codec, options = CODECS[path.suffix]
        stream = container.add_stream(codec, rate=25, options={**options, "g": "12"})
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for i in range(num_frames):
            frame = np.roll(ground, 3 * i, axis=1)
            frame[10:30, i : i + 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def damaged(content: bytes, seed: int) -> bytes:
    """1 to 40 bits flipped anywhere, or all cut off from anywhere on."""
    rng = random.Random(seed)
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 10, 40))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def outcome(num_frames: int, path: Path) -> str:
    """How a damaged video was taken: "whole", "fewer frames", "more", or the beginning of its reason."""
    part = path.with_suffix(".part")
    try:
        kept = store_video(path, spec(stride=1), part)
    except UnreadableVideo as problem:
        return f"refused: {str(problem).split(':')[0]}"
    with video.opened(path) as (container, stream):
        frames = [frame.is_corrupt for frame in container.decode(stream)]
    assert not any(frames) and max(8, len(frames)) == kept.num_frames, "its frames don't really decode"
    assert part.stat().st_size == kept.num_frames * 32 * 32 * 3
    assert 2 * len(frames) >= num_frames, f"half of {path.name} is lost and nobody knows"
    return "whole" if len(frames) == num_frames else "fewer frames" if len(frames) < num_frames else "more"


def damage_all(folder: Path, suffix: str, times: int) -> Iterator[Path]:
    content = moving(folder / f"whole{suffix}").read_bytes()
    for seed in range(times):
        path = folder / f"{seed}{suffix}"
        path.write_bytes(damaged(content, seed))
        yield path


@pytest.mark.parametrize("suffix", CODECS)
def test_a_damaged_video_is_refused_or_really_decodes(tmp_path: Path, suffix: str) -> None:
    outcomes = Counter(outcome(60, path) for path in damage_all(tmp_path, suffix, 20))
    assert sum(count for how, count in outcomes.items() if how.startswith("refused")) >= 6, outcomes


@pytest.mark.slow
def test_five_thousand_damaged_videos_are_refused_or_really_decode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for suffix in CODECS:
            folder = tmp_path / suffix[1:]
            folder.mkdir()
            paths = list(damage_all(folder, suffix, 1000))
            outcomes = Counter(pool.map(partial(outcome, 60), paths, chunksize=20, timeout=1200))
            with capsys.disabled():
                print(f"\n{suffix}: {sum(outcomes.values())} times: {dict(outcomes.most_common())}")
            shutil.rmtree(folder)


def test_a_twentieth_of_damaged_videos_is_left_out_with_reasons_and_the_rest_is_untouched(tmp_path: Path) -> None:
    """16 good ones; one cut, one overwritten, one empty among them."""
    good = [write_video(tmp_path / f"whole{suffix}", 30, first=i) for i, suffix in enumerate(CODECS)]
    for part, count in (("train", 7), ("test", 1)):
        for name in ("left", "right"):
            folder = tmp_path / "clips" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                shutil.copyfile(good[i % 5], folder / f"{i}{good[i % 5].suffix}")
    clean = prepare("clean", folder=tmp_path / "clips", frames=8, size=32, stride=1, workers=1).store
    bad = tmp_path / "clips" / "train" / "left"
    (bad / "empty.mp4").touch()
    (bad / "text.avi").write_text("hello")
    cut(shutil.copyfile(good[1], bad / "short.mp4"), 0.5)
    before = listing(tmp_path / "clips")
    done = prepare("clips", folder=tmp_path / "clips", frames=8, size=32, stride=1, workers=2)
    assert listing(tmp_path / "clips") == before, "the videos were written to"
    with (done.store.path / "problems.csv").open(newline="") as file:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"empty.mp4", "text.avi", "short.mp4"} and done.store.num_missing == 3
    columns = ["video", "num_frames", "frames_sha256"]
    assert done.store.index[columns].equals(clean.index[columns])


def test_guessed_frames_are_kept_only_in_datasets_that_must_be_complete_and_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A distributor's file is what it is, one of your own is damaged."""
    folder = write_folder(tmp_path / "clips", train=2)
    path = moving(folder / "train" / "left" / "0.avi")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo, match=r"damaged: \d+ of 60 frames could only be guessed"):
        stored(path, spec(stride=1))
    own, videos = read_folder(folder, frames=8, size=32, stride=1)
    assert build_store("own", own, videos, workers=1).problems == {"damaged": 1}
    capsys.readouterr()
    pinned = own.model_copy(update={"num_videos": {"train": 4, "test": 2}})
    store = build_store("pinned", pinned, videos, workers=1).store
    assert dict(zip(store.index["video"], store.index["num_frames"], strict=True))["train/left/0.avi"] == 60
    assert "1 videos have damaged frames, which the decoder has guessed: train/left/0.avi" in capsys.readouterr().err


def test_a_video_whose_rest_is_hidden_by_a_wrong_byte_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is said to be so large that the demuxer skips all that follows, without an error."""
    path = write_video(tmp_path / "a.webm", 120)
    content = bytearray(path.read_bytes())
    blocks = [i for i in range(len(content) - 2) if content[i] == 0xA3 and content[i + 2] == 0x81]  # SimpleBlock of track 1
    assert len(blocks) == 120
    content[blocks[10] + 1] = 0x10  # its size has four bytes now
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo, match=r"cut short: 0\.4 of 4\.8 seconds can be read"):
        stored(path, spec(stride=1))
    monkeypatch.setattr(video, "MIN_SHARE", 0)
    assert len(stored(path, spec(stride=1))[1]) == 10
