"""The embedded data is the same everywhere, and no single frame tells the direction."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from vddbench.data.datasets import movingshapes
from vddbench.data.prepare import prepare
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import read_record, record_files
from vddbench.spec import Task
from vddbench.submissions.check import check
from vddbench.submissions.manifest import read_manifest

ROOT = Path(__file__).parents[2]
DIGEST = "e5a1f4f0a3dce166252591e896aaf42459ad29bda310c7ab641bd776c3d9df51"  # of every id and its bytes
VIDEOS = list(movingshapes.videos(Path()))


@pytest.fixture(scope="module")
def clips(home: Path) -> np.ndarray:
    """The clips of the prepared store, uint8 [N, T, H, W, C], in the order of VIDEOS."""
    store = prepare("movingshapes").store
    clip_of: dict[str, np.ndarray] = {}
    for split in (store.train, store.test):
        rows = np.arange(len(split))
        clip_of |= dict(zip(split.index["video"], split.clips(rows, np.zeros_like(rows)).numpy(), strict=True))
    return np.stack([clip_of[video.id] for video in VIDEOS])


def test_the_bytes_of_all_clips_are_pinned(clips: np.ndarray) -> None:
    digest = hashlib.sha256()
    for video, clip in zip(VIDEOS, clips, strict=True):
        digest.update(video.id.encode() + clip.tobytes())
    assert digest.hexdigest() == DIGEST


def test_every_class_has_the_same_counts() -> None:
    for label in range(8):
        of_class = [v for v in VIDEOS if v.label == label]
        assert sum(v.split == "train" for v in of_class) == 62
        assert sum(v.group == "validation" and v.split == "train" for v in of_class) == 12
        assert sum(v.split == "test" for v in of_class) == 50


def positions(clips: np.ndarray, frame: int) -> np.ndarray:
    """[n, 2] rough centre of the shape on the torus, as angles: where the brightness above the background sits."""
    found = []
    turn = np.exp(2j * np.pi * np.arange(64) / 64)
    for clip in clips:
        image = clip[frame].astype(float).mean(2)
        light = np.maximum(image - np.median(image) - 20, 0)
        found.append([np.angle((light.sum(1) * turn).sum()), np.angle((light.sum(0) * turn).sum())])
    return np.array(found)


def test_the_shape_moves_the_way_its_class_says(clips: np.ndarray) -> None:
    for label, name in enumerate(movingshapes.SPEC.class_names):
        rows = [i for i, v in enumerate(VIDEOS) if v.label == label][:10]
        moved = np.angle(np.exp(1j * (positions(clips[rows], 1) - positions(clips[rows], 0)))) * 64 / (2 * np.pi)  # pixels
        dy, dx = movingshapes.STEPS[name.split("_")[1]]
        along = moved @ np.array([dy, dx])
        assert ((along > 3) & (along < 6)).all()  # 4 to 5 pixels a frame, within what the noise does to the centre
        assert (np.abs(moved @ np.array([dx, dy])) < 0.5).all()


def test_where_the_shape_is_in_a_frame_is_uniform_in_every_direction_class(clips: np.ndarray) -> None:
    for way in movingshapes.STEPS:
        rows = [i for i, v in enumerate(VIDEOS) if movingshapes.SPEC.class_names[v.label].endswith(way)]
        for frame in (0, 7):
            angles = positions(clips[rows], frame)
            resultant = np.abs(np.exp(1j * angles).mean(0))  # Rayleigh: n R^2 > 13.8 has probability 1e-6 when uniform
            assert (len(rows) * resultant**2 < 13.8).all()


def scores(method: str, task: str) -> np.ndarray:
    found = [
        read_record(p)[0].top1
        for p in record_files(ROOT / "leaderboard" / "results")
        if p.match(f"{task}/{method}@*/convnet3d/*.json")
    ]
    return np.array(found)


def test_recorded_references_show_the_difficulty_it_was_tuned_to() -> None:
    """`pytest -m slow` retrains some of these."""
    random, stills = scores("random", "movingshapes-ipc1"), scores("random_still", "movingshapes-ipc1")
    assert random.mean() > 0.125 + 3 * np.sqrt(0.125 * 0.875 / 400)
    assert stills.mean() < 0.25 + 3 * np.sqrt(0.25 * 0.75 / 400 / len(stills))
    assert min(scores(method, "movingshapes-ipc1").min() for method in ("random_jpeg", "random_video")) > random.max()


@pytest.mark.parametrize("method", ["random", "random_still"])
def test_the_bundled_submissions_are_what_distilling_makes_here(method: str, tmp_path: Path) -> None:
    assert prepare("movingshapes").store.digest == movingshapes.DIGEST
    made = distill(method, Task(dataset="movingshapes", ipc=1), 0, tmp_path)
    bundled = ROOT / "submissions" / "movingshapes-ipc1" / method
    assert (made / "data.safetensors").read_bytes() == (bundled / "data.safetensors").read_bytes()
    assert read_manifest(made).store_digest == read_manifest(bundled).store_digest


@pytest.mark.parametrize(
    "method", ["random", "random_still", *[pytest.param(m, marks=pytest.mark.long) for m in ("random_jpeg", "random_video")]]
)
def test_the_bundled_submissions_are_accepted(method: str) -> None:
    assert check(ROOT / "submissions" / "movingshapes-ipc1" / method).reasons == ()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "ipc"), [("random", 1), ("random_still", 1)])
def test_retraining_gives_the_recorded_difficulty(method: str, ipc: int, tmp_path: Path) -> None:
    prepare("movingshapes")
    task = Task(dataset="movingshapes", ipc=ipc)
    path = distill(method, task, 0, tmp_path / "submissions")
    (record,) = evaluate([path], students=["convnet3d"], seeds=[0], results=tmp_path / "results")
    top1, recorded = read_record(record)[0].top1, scores(method, str(task))
    assert abs(top1 - recorded.mean()) < 0.1  # other hardware, other rounding; seeds differ by about 0.03
