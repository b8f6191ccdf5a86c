"""Test videos handed in as a submission are found in every simple disguise; clips of train videos accuse nobody."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.builders.stores import COUNTED
from tests.builders.students import use_linear_student
from tests.builders.submissions import edit_manifest
from vddbench.data.build import build_store
from vddbench.data.near_copies import near_copies, summary
from vddbench.data.nearest import nearest, sample_times
from vddbench.data.store import Split, Store
from vddbench.data.thumbnails import luma, thumbnails
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import read_record
from vddbench.spec import Task, Video
from vddbench.submissions import leaks
from vddbench.submissions.check import check
from vddbench.submissions.leaks import scan
from vddbench.system.files import sha256_file

SIDE, FRAMES = 48, 8
SPEC = COUNTED.model_copy(update={"size": SIDE, "frames": FRAMES})
VIDEOS = [
    Video(id=f"{split}{i}", path=None, label=i % 2, split="train" if split == "train" else "test")
    for split in ("train", "test")
    for i in range(8)
]


def scene(video: Video) -> np.ndarray:
    """A camera that pans over a landscape of its own: blobs of several sizes."""
    rng = np.random.default_rng(list(video.id.encode()))
    blocks = [rng.normal(0, 30, (n, n, 3)) for n in (4, 8, 16, 40)]
    land = sum(np.kron(block, np.ones((80 // len(block), 80 // len(block), 1))) for block in blocks) + 120
    smooth = sum(np.roll(land, (a, b), (0, 1)) for a in (0, 1) for b in (0, 1)) / 4
    return np.stack([smooth[t : t + SIDE, 2 * t : 2 * t + SIDE] for t in range(10)]).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    return build_store("scenes", SPEC, VIDEOS, render=scene).store


def some_clips(split: Split) -> np.ndarray:
    videos = np.arange(0, len(split), 4)
    return np.asarray(split.clips(videos, split.centre_starts(videos)).numpy())


def each_frame(clips: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    frames = [np.asarray(change(Image.fromarray(frame))) for frame in clips.reshape(-1, SIDE, SIDE, 3)]
    return np.stack(frames).reshape(clips.shape)


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file)


def shifted(clips: np.ndarray) -> np.ndarray:
    return np.pad(clips, ((0, 0), (0, 0), (4, 0), (0, 0), (0, 0)), "edge")[:, :, :SIDE]


DISGUISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda clips: clips,
    "jpeg": lambda clips: each_frame(clips, as_jpeg),
    "mirrored": lambda clips: clips[:, :, :, ::-1],
    "cropped": lambda clips: each_frame(clips, lambda image: image.resize((SIDE, SIDE), box=(5, 3, SIDE - 2, SIDE - 4))),
    "shifted": shifted,
    "darkened": lambda clips: (clips * 0.4).astype(np.uint8),
    "noisy": lambda clips: clips + np.random.default_rng(0).normal(0, 25, clips.shape).astype(np.float32),
    "frames out of order": lambda clips: clips[:, ::-1],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_disguised_test_videos_are_named_and_disguised_train_videos_are_not(store: Store, disguise: str) -> None:
    hidden = DISGUISES[disguise](some_clips(store.test))
    found = scan(torch.from_numpy(np.ascontiguousarray(hidden)), store)
    assert [leak.test_video for leak in found.leaks] == [store.test.index["video"][4 * leak.clip] for leak in found.leaks]
    assert len(found.leaks) == found.num_compared == 2
    honest = DISGUISES[disguise](some_clips(store.train))
    assert not scan(torch.from_numpy(np.ascontiguousarray(honest)), store).leaks


def test_noise_means_and_flat_clips_accuse_nobody(store: Store) -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (3, FRAMES, SIDE, SIDE, 3))
    means = some_clips(store.train).astype(np.float32).mean(0, keepdims=True)
    flat = np.full((1, FRAMES, SIDE, SIDE, 3), 90.0)
    clips = torch.from_numpy(np.concatenate([noise, means, flat]).astype(np.float32))
    assert not scan(clips, store).leaks


def test_a_test_video_that_is_also_a_train_video_accuses_nobody(home: Path) -> None:
    def twins(video: Video) -> np.ndarray:
        same = "train0" if video.id == "test0" else video.id
        return scene(Video(id=same, path=None, label=0, split="train"))

    store = build_store("twins", SPEC, VIDEOS, render=twins).store
    clips = store.test.clips(np.array([0, 1]), np.array([0, 0]))
    assert [leak.test_video for leak in scan(clips, store).leaks] == [store.test.index["video"][1]]
    [copy] = near_copies(store)
    assert (copy.test_video, copy.train_video) == ("test0", "train0") and copy.distance < 0.02
    assert summary(store).startswith("1 of 8 test videos are nearly a train video (distance below 0.1): test0 ~ train0 (0.0")


def test_a_large_set_is_sampled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "MOST_CLIPS", 1)
    found = scan(torch.from_numpy(some_clips(store.test)), store)
    assert found.num_compared == len(found.leaks) == 1
    others = {scan(torch.from_numpy(some_clips(store.test)), store, seed).leaks[0].clip for seed in range(8)}
    assert others == {0, 1}  # which clip is compared cannot be known beforehand


def test_thumbnails_are_made_once_and_hold_every_frame(store: Store) -> None:
    first = thumbnails(store.test)
    assert first.shape == (len(store.test.frames), 24, 24) and thumbnails(store.test).filename == first.filename
    one = store.test.clips(np.array([3]), np.array([1])).numpy()
    found = nearest(luma(one[:, sample_times(FRAMES)]), store.test)
    assert found.video == [3] and found.distance < 0.02


def test_check_warns_and_the_record_counts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = distill("random", Task(dataset="scenes", ipc=1), 0, tmp_path / "honest")
    assert not [line for line in check(honest).warnings if "test video" in line]
    path = leaked_submission(honest, store)
    [warning] = [line for line in check(path).warnings if "test video" in line]
    assert warning.startswith("2 of 2 compared clips look like test videos: clip 0 matches test video test0 (distance 0.0")
    assert check(path).accepted
    use_linear_student(monkeypatch)
    [file] = evaluate(path, students="linear", seeds=[0], results=tmp_path / "results")
    record = read_record(file)[0]
    assert (record.suspect_clips, record.compared_clips) == (2, 2)
    assert "2 of 2 compared clips look like test videos" in capsys.readouterr().err


def test_a_refused_submission_cannot_vouch_for_another_ones_payload(store: Store, tmp_path: Path) -> None:
    """It states the hash of a set of test videos, under which a result of the comparison is kept."""
    leaked = leaked_submission(distill("random", Task(dataset="scenes", ipc=1), 1, tmp_path / "leaked"), store)
    decoy = distill("random", Task(dataset="scenes", ipc=1), 1, tmp_path / "decoy")
    edit_manifest(decoy, sha256=sha256_file(leaked / "data.safetensors"))
    for path in leaks.home().glob("leaks/*.json"):
        path.unlink()
    assert not check(decoy).accepted
    assert [line for line in check(leaked).warnings if "test video" in line]


def leaked_submission(honest: Path, store: Store) -> Path:
    """The same submission with test videos instead of its clips."""
    tensors = load_file(honest / "data.safetensors")
    videos = np.array([0, 1])
    tensors["clips"] = store.test.clips(videos, store.test.centre_starts(videos))
    save_file(tensors, honest / "data.safetensors")
    edit_manifest(honest, sha256=sha256_file(honest / "data.safetensors"))
    return honest
