"""Selections are what their papers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.builders.stores import SIZE
from vddbench.baselines import herding, k_center, kmeans, random_jpeg, random_small, random_still
from vddbench.data.store import Split, Store
from vddbench.spec import Task
from vddbench.submissions.decoders import factor, jpeg

POINTS = np.random.default_rng(0).normal(size=(40, 5))


def test_herding_k_center_and_kmeans_agree_at_one_clip_a_class() -> None:
    nearest = int(np.linalg.norm(POINTS - POINTS.mean(0), axis=1).argmin())
    centre = kmeans.centroids(POINTS, 1, 50, np.random.default_rng(0))
    assert herding.herd(POINTS, 1) == k_center.farthest_first(POINTS, 1) == kmeans.nearest_clips(POINTS, centre) == [nearest]


def test_k_center_is_farthest_first_on_a_line() -> None:
    line = np.array([[0.0], [1.0], [5.0], [9.0], [10.0]])
    assert k_center.farthest_first(line, 4) == [2, 0, 4, 1]  # centre, one end, the other, then the first of two equals


def test_herding_keeps_the_running_mean_close_to_the_class_mean() -> None:
    picked = POINTS[herding.herd(POINTS, 12)].mean(0)
    others = [POINTS[np.random.default_rng(i).choice(40, 12, replace=False)].mean(0) for i in range(200)]
    mean = POINTS.mean(0)
    assert np.linalg.norm(picked - mean) < min(np.linalg.norm(other - mean) for other in others)


def test_kmeans_finds_clusters_that_are_there() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    points = np.concatenate([rng.normal(c, 0.5, (20, 2)) for c in centres])
    found = kmeans.nearest_clips(points, kmeans.centroids(points, 3, 50, rng))
    assert sorted(i // 20 for i in found) == [0, 1, 2]


@pytest.mark.parametrize("choose", [herding.herd, k_center.farthest_first])
def test_identical_clips_are_never_picked_twice(choose: object) -> None:
    assert sorted(choose(np.ones((5, 3)), 5)) == [0, 1, 2, 3, 4]  # type: ignore[operator]


def test_random_still_fills_the_budget_with_frames_of_train_videos(tiny: Store) -> None:
    task = Task(dataset="tiny", ipc=1)
    tensors = random_still.distill(tiny.train, task, random_still.Config(), np.random.default_rng(0)).tensors
    per_class = min(8 * (8 * SIZE * SIZE * 3 + 8) // 8 // (SIZE * SIZE * 3 + 2), 8)  # 7: labels are 8 bytes too many
    assert len(tensors["frames"]) == 8 * per_class
    stored = {frame.tobytes() for frame in tiny.train.frames}
    assert all(frame.numpy().tobytes() in stored for frame in tensors["frames"])


def test_random_small_holds_four_real_clips_per_class_at_half_the_height_and_width(tiny: Store) -> None:
    task = Task(dataset="tiny", ipc=1)
    tensors = random_small.distill(tiny.train, task, random_small.Config(), np.random.default_rng(0)).tensors
    assert factor.decode(tensors, tiny.spec).labels.bincount().tolist() == [4] * 8
    half, rows = SIZE // 2, np.flatnonzero(tiny.train.labels == 0)
    every = [(row, start) for row in rows for start in range(tiny.train.last_starts[row] + 1)]
    clips = tiny.train.clips(*map(np.array, zip(*every, strict=True))).float()
    small = clips.unflatten(3, (half, 2)).unflatten(2, (half, 2)).mean((3, 5))  # [n, T, half, half, C]
    quarters = [tensors["clips"][0][:, i : i + half, j : j + half].float() for i in (0, half) for j in (0, half)]
    sources = [int((small - quarter).abs().amax((1, 2, 3, 4)).argmin()) for quarter in quarters]
    assert len({every[source][0] for source in sources}) == 4  # of four videos
    for quarter, source in zip(quarters, sources, strict=True):
        assert (small[source] - quarter).abs().max() <= 0.5


def test_random_jpeg_adds_whole_rounds_of_classes_until_the_budget_is_full(tiny: Store) -> None:
    task = Task(dataset="tiny", ipc=1)
    tensors = random_jpeg.fill(tiny.train, task, 75, np.random.default_rng(0))
    spent = sum(t.numel() * t.element_size() for t in tensors.values())
    budget = task.budget_bytes(tiny.spec)
    assert budget is not None and spent <= budget
    rounds = len(tensors["labels"]) // 8
    assert torch.equal(tensors["labels"].bincount(), torch.full((8,), rounds))
    assert rounds == 8  # of every class all 8 train videos: movingshapes compresses well
    clips = jpeg.decode(tensors, tiny.spec).clips.float()
    first = np.random.default_rng(0).permutation(np.flatnonzero(tiny.train.labels == 0))[0]
    original = tiny.train.clips(np.array([first]), np.array([0])).float()
    assert tiny.train.last_starts[first] > 0 or (clips[0] - original[0]).abs().mean() < 8  # lossy, but that clip


def test_frames_too_small_for_jpeg_are_refused_with_the_quality(tiny: Store) -> None:
    """A frame of 8x8 pixels has 192 bytes; a JPEG's header alone has more."""
    index = tiny.train.index.drop_duplicates("label").assign(offset=np.arange(8) * 8, num_frames=8).reset_index(drop=True)
    frames = np.zeros((64, 8, 8, 3), np.uint8)
    spec = tiny.spec.model_copy(update={"size": 8})
    small = Split(name="train", dataset="small", digest="", spec=spec, index=index, frames=frames)
    with pytest.raises(ValueError, match="not even one clip per class fits the budget at JPEG quality 50"):
        random_jpeg.fill(small, Task(dataset="small", ipc=1), 50, np.random.default_rng(0))
