"""Real clips for distillers: windows of train videos that follow from (seed, iteration) alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vddbench.data.store import Split, Store
from vddbench.distillation.real_clips import RealClips, balanced, mirror, stream, uniform

CPU = torch.device("cpu")


def reader(train: Split, per_class: int = 2, seed: int = 0) -> RealClips:
    return RealClips(train, balanced(train, per_class), seed, CPU)


def mirrorable(train: Split) -> Split:
    return replace(train, spec=train.spec.model_copy(update={"hflip_keeps_label": True}))


def drawn(real: RealClips, iteration: int) -> list[tuple[int, int, bool]]:
    """(video, start, mirrored) of each clip, found by its pixels: fails for a clip that is no window of a train video."""
    train = real.train
    clips, labels = real.get(iteration)
    windows = {
        clip.numpy().tobytes(): (video, start, mirrored)
        for video in range(len(train))
        for start in range(train.last_starts[video] + 1)
        for mirrored in (False, True)
        for clip in [train.clips(np.array([video]), np.array([start]))[0]]
        for clip in [clip.flip(2) if mirrored else clip]
    }
    found = [windows[clip.numpy().tobytes()] for clip in clips]
    assert [int(train.labels[video]) for video, _, _ in found] == labels.tolist()
    return found


def test_what_is_drawn_follows_from_seed_and_iteration_not_from_history(tiny: Store) -> None:
    in_order = reader(tiny.train)
    sequence = [in_order.get(i) for i in range(4)]
    for i in (3, 1, 2, 0):  # each alone, and out of order
        alone, again = reader(tiny.train).get(i), in_order.get(i)
        for (clips, labels), (expected, expected_labels) in ((alone, sequence[i]), (again, sequence[i])):
            assert torch.equal(clips, expected) and torch.equal(labels, expected_labels)
    other = reader(tiny.train, seed=1).get(0)[0]
    assert not torch.equal(sequence[0][0], sequence[1][0]) and not torch.equal(sequence[0][0], other)


def test_clips_are_windows_of_one_train_video_from_varying_starts(tiny: Store) -> None:
    real = reader(tiny.train)
    found = [one for i in range(3) for one in drawn(real, i)]
    starts = {start for video, start, _ in found if tiny.train.last_starts[video] > 0}
    assert len(starts) > 3 and 0 < max(starts) <= tiny.train.last_starts.max()
    assert real.clips_read == 3 * 16 and real.waited_seconds > 0


def test_clips_are_mirrored_only_where_that_keeps_the_label(tiny: Store) -> None:
    assert not tiny.spec.hflip_keeps_label
    assert not any(mirrored for _, _, mirrored in drawn(reader(tiny.train, 4), 0))
    mirrored = [mirrored for _, _, mirrored in drawn(reader(mirrorable(tiny.train), 4), 0)]
    assert 5 < sum(mirrored) < 27  # of 32, half


def test_every_class_gives_as_many_and_each_video_once_before_any_twice(tiny: Store) -> None:
    choose = balanced(tiny.train, 12)  # a class has 8 train videos
    rows = choose(stream(0, 0, 1))
    assert tiny.train.labels[rows].tolist() == np.repeat(np.arange(8), 12).tolist()
    for label in range(8):
        mine = rows[tiny.train.labels[rows] == label]
        assert len(set(mine[:8].tolist())) == 8 and len(set(mine[8:].tolist())) == 4
    everything = uniform(tiny.train, len(tiny.train) + 3)(stream(0, 0, 1))
    assert sorted(everything[: len(tiny.train)].tolist()) == list(range(len(tiny.train)))


def test_a_class_without_train_videos_is_refused_by_name(tiny: Store) -> None:
    with pytest.raises(ValueError, match="class 'cross_left' of tiny has no train video to match"):
        balanced(tiny.train.only(tiny.train.labels != 1), 2)


@pytest.mark.parametrize("shape", [(4, 3, 2, 5, 3), (4, 2, 5, 3)], ids=["clips", "frames"])
def test_mirroring_on_a_gpu_is_mirroring_along_the_width(shape: tuple[int, ...]) -> None:
    clips, mirrored = torch.arange(math.prod(shape)).view(shape), torch.tensor([True, False, True, False])
    found = mirror(clips, mirrored)
    assert torch.equal(found[1::2], clips[1::2]) and torch.equal(found[0::2], clips[0::2].flip(-2))


def test_clips_may_be_read_into_memory_that_is_there(tiny: Store) -> None:
    rows, starts = np.arange(5), np.zeros(5, np.int64)
    place = torch.empty((5, *tiny.spec.clip_shape), dtype=torch.uint8)
    found = tiny.train.clips(rows, starts, out=place.numpy())
    assert found.data_ptr() == place.data_ptr() and torch.equal(place, tiny.train.clips(rows, starts))
