"""Methods that select parts of real clips by a teacher's answers take the parts that their papers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vddbench.baselines import kmeans, optdistill, protoblend, rded
from vddbench.data.store import Store
from vddbench.distillation import tubes
from vddbench.distillation.coresets import rows_of
from vddbench.distillation.teacher import Teacher, TeacherFeatures, answers, embed
from vddbench.spec import Task
from vddbench.submissions.decoders import keyframes, pixels

TASK = Task(dataset="tiny", ipc=1)


@pytest.fixture(autouse=True)
def taught(small_teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods get the small teacher."""
    for method in (rded, protoblend, optdistill):
        monkeypatch.setattr(method, "teacher", lambda *args, **settings: small_teacher)


def test_of_each_video_the_crop_with_the_lowest_cross_entropy_and_of_these_the_lowest_are_kept() -> None:
    cross_entropy = np.array([[3.0, 2.0], [0.5, 9.0], [1.0, 0.6], [4.0, 5.0]])
    assert rded.lowest(cross_entropy, 3).tolist() == [2, 5, 1]  # 0.5 and 0.6, each the best of its video, then 2.0


@pytest.mark.parametrize("mosaic", [1, 2])
def test_rded_shows_the_crops_that_the_teacher_recognises_best(mosaic: int, tiny: Store, small_teacher: Teacher) -> None:
    config = rded.Config(videos=5, crops=3, mosaic=mosaic)
    clips = rded.distill(tiny.train, TASK, config, np.random.default_rng(2)).tensors["clips"]
    rng, train, tile = np.random.default_rng(2), tiny.train, 44 // mosaic
    for label in range(2):
        of_class = rded.candidates(train, rows_of(train, label, 1), mosaic**2, config, rng)
        assert len(of_class.rows) == 15 and set(train.labels[of_class.rows]) == {label}
        crops = tubes.cut(train, of_class, tile)
        enlarged = torch.stack([tubes.resized(crop, 44) for crop in crops])
        scores = answers(small_teacher.model, enlarged, train)[:, label].reshape(5, 3)  # of 5 videos
        best = scores.amax(1).argsort(descending=True)[: mosaic**2]
        for place, video in enumerate(best.tolist()):
            crop = crops[3 * video + int(scores[video].argmax())]
            top, left = tile * (place // mosaic), tile * (place % mosaic)
            assert torch.equal(clips[label, :, top : top + tile, left : left + tile], crop)


def test_a_crop_is_a_square_inside_the_frame_of_at_least_the_smallest_area(tiny: Store) -> None:
    of_class = rded.candidates(tiny.train, rows_of(tiny.train, 0, 1), 1, rded.Config(crops=40), np.random.default_rng(0))
    top, left, height, width = of_class.boxes[:, 0].T
    assert np.array_equal(height, width) and (top + height).max() <= 44 and (left + width).max() <= 44
    assert height.min() >= round(44 * 0.08**0.5) and height.min() < 20 and height.max() > 40
    assert (of_class.frames[:, 0] >= 0).all() and (of_class.frames[:, -1] <= tiny.train.last_starts[of_class.rows] + 7).all()


def test_a_whole_frame_is_not_changed_and_a_moving_box_is_cut_frame_by_frame(tiny: Store) -> None:
    row = np.array([3])
    whole = tubes.whole_clips(tiny.train, row, np.array([0]))
    clip = tiny.train.clips(row, np.array([0]))
    assert torch.equal(tubes.cut(tiny.train, whole, 44), clip)
    boxes = np.array([[[t, 2 * t, 22, 22] for t in range(8)]])
    moving = tubes.cut(tiny.train, whole._replace(boxes=boxes), 22)
    assert all(torch.equal(moving[0, t], clip[0, t, t : t + 22, 2 * t : 2 * t + 22]) for t in range(8))


def test_mosaics_show_tiles_row_by_row() -> None:
    tiles = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1, 1).expand(8, 2, 3, 3, 3)
    grid = tubes.mosaics(tiles, 2)
    assert grid.shape == (2, 2, 6, 6, 3)
    assert grid[1, 0, ::3, ::3, 0].tolist() == [[4, 5], [6, 7]]


def test_soft_labels_of_a_mosaic_are_the_mean_answers_to_its_tiles_and_fit_the_budget(
    tiny: Store, small_teacher: Teacher
) -> None:
    config = rded.Config(videos=4, crops=1, mosaic=2, least_area=1.0, soft_labels=True)
    tensors = rded.distill(tiny.train, TASK, config, np.random.default_rng(0)).tensors
    assert sum(t.numel() * t.element_size() for t in tensors.values()) <= (TASK.budget_bytes(tiny.spec) or 0)
    decoded = keyframes.decode(tensors, tiny.spec)
    first = rded.candidates(tiny.train, rows_of(tiny.train, 0, 4), 4, config, np.random.default_rng(0))
    small = torch.stack([tubes.resized(clip, 44) for clip in tubes.cut(tiny.train, first, 22)])
    torch.testing.assert_close(decoded.labels[0], answers(small_teacher.model, small, tiny.train).mean(0), atol=1e-3, rtol=0)


def test_answers_of_finished_classes_are_kept_when_a_run_is_stopped(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    config, original, calls = rded.Config(videos=2, crops=1), tubes.answers, list[int]()

    def stop_at(number: int) -> None:
        def counted(*args: object) -> torch.Tensor:
            calls.append(1)
            if len(calls) == number:
                raise KeyboardInterrupt
            return original(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(tubes, "answers", counted)

    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        rded.distill(tiny.train, TASK, config, np.random.default_rng(7))
    calls.clear()
    stop_at(99)
    resumed = rded.distill(tiny.train, TASK, config, np.random.default_rng(7))
    assert len(calls) == 8 - 3 and resumed.chosen["tubes_clips_read"] == 16
    again = rded.distill(tiny.train, TASK, config, np.random.default_rng(7))
    assert len(calls) == 5 and torch.equal(again.tensors["clips"], resumed.tensors["clips"]) and again.chosen == resumed.chosen


def test_frames_that_cannot_be_divided_and_classes_with_too_few_videos_are_refused(tiny: Store) -> None:
    with pytest.raises(ValueError, match="frames of 44 pixels a side cannot be divided into 3 x 3"):
        rded.distill(tiny.train, TASK, rded.Config(mosaic=3), np.random.default_rng(0))
    with pytest.raises(ValueError, match="has 8 train videos, 20 are needed"):
        rded.distill(tiny.train, Task(dataset="tiny", ipc=5), rded.Config(mosaic=2), np.random.default_rng(0))


def test_memory_that_runs_out_names_the_setting_to_lower(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(tubes, "answers", full)
    with pytest.raises(ValueError, match=r"memory ran out while tubes were compared; .*: lower batch in the method's file"):
        rded.distill(tiny.train, TASK, rded.Config(videos=1, crops=1), np.random.default_rng(11))


FIVE = Task(dataset="tiny", ipc=5)


def test_protoblend_with_weight_1_and_one_clip_a_video_is_kmeans(
    tiny: Store, small_teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(len(tiny.train))
    points = embed(small_teacher.model, tiny.train, rows, tiny.train.centre_starts(rows)).double().numpy()
    monkeypatch.setattr(kmeans, "features", lambda train: TeacherFeatures(points=points, cost={}))
    selected = kmeans.distill(tiny.train, FIVE, kmeans.Config(), np.random.default_rng(1)).tensors
    config = protoblend.Config(weight=1.0, views=1)
    blended = protoblend.distill(tiny.train, FIVE, config, np.random.default_rng(1)).tensors
    assert torch.equal(blended["clips"], selected["clips"])
    assert torch.equal(blended["labels"].long(), selected["labels"])


def test_protoblend_blends_pixels_and_soft_labels_alike(tiny: Store, small_teacher: Teacher) -> None:
    one, other = (
        keyframes.decode(protoblend.distill(tiny.train, TASK, config, np.random.default_rng(1)).tensors, tiny.spec)
        for config in (protoblend.Config(weight=weight, soft_labels=True) for weight in (1.0, 0.0))
    )
    config = protoblend.Config(weight=0.6, soft_labels=True)
    mixed = keyframes.decode(protoblend.distill(tiny.train, TASK, config, np.random.default_rng(1)).tensors, tiny.spec)
    torch.testing.assert_close(mixed.clips.float(), 0.6 * one.clips + 0.4 * other.clips, atol=0.51, rtol=0)
    torch.testing.assert_close(mixed.labels, 0.6 * one.labels + 0.4 * other.labels, atol=1e-3, rtol=0)
    assert not torch.equal(one.clips, other.clips)
    torch.testing.assert_close(
        one.labels[:1, 0], answers(small_teacher.model, one.clips[:1], tiny.train)[:, 0], atol=0.05, rtol=0
    )


def test_the_partner_is_another_member_of_the_prototypes_cluster_if_there_is_one() -> None:
    points = np.array([[0.0], [0.1], [9.0], [0.2]])
    pairs = protoblend.pairs_of(points, np.array([[0.1], [9.0]]), np.random.default_rng(0))
    assert pairs[0, 0] == 1 and pairs[0, 1] in {0, 3} and pairs[1].tolist() == [2, 2]


def test_protoblend_refuses_a_weight_that_is_none(tiny: Store) -> None:
    with pytest.raises(ValueError, match=r"weight is 1\.5; allowed: from 0 to 1"):
        protoblend.distill(tiny.train, TASK, protoblend.Config(weight=1.5), np.random.default_rng(0))


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_optdistill_shows_the_tubes_with_the_highest_score_from_the_shortest_video_to_the_longest(
    preset: str, tiny: Store, small_teacher: Teacher
) -> None:
    config = optdistill.PRESETS[preset]
    made = optdistill.distill(tiny.train, TASK, config, np.random.default_rng(0))
    decoded = (keyframes if preset == "paper" else pixels).decode(made.tensors, tiny.spec)
    of_class = optdistill.candidates(tiny.train, config, np.random.default_rng(0))[0]
    assert len(of_class.rows) == 8 * config.boxes
    tiles = tubes.cut(tiny.train, of_class, 22)
    probabilities = answers(small_teacher.model, torch.stack([tubes.resized(tile, 44) for tile in tiles]), tiny.train)
    score = probabilities[:, 0] if preset == "paper" else probabilities.amax(1)
    best = score.argsort(descending=True, stable=True)[:4].numpy()
    best = best[np.argsort(tiny.train.last_starts[of_class.rows[best]], kind="stable")]
    shown = torch.stack([decoded.clips[0, :7, top : top + 22, left : left + 22] for top in (0, 22) for left in (0, 22)])
    assert torch.equal(shown, tiles[best][:, :7])
    if preset == "paper":
        torch.testing.assert_close(decoded.labels[0], probabilities[best].mean(0), atol=1e-3, rtol=0)
    assert made.chosen["regions"] == "motion" and made.external_data == ""


def test_a_tube_spans_its_whole_video(tiny: Store) -> None:
    of_class = optdistill.candidates(tiny.train, optdistill.PRESETS["smoke"], np.random.default_rng(0))[3]
    last = tiny.train.last_starts[of_class.rows] + tiny.spec.frames - 1
    assert np.array_equal(of_class.frames[:, -1], last) and (of_class.frames[:, 0] == 0).all() and last.max() > 7


def test_too_few_tubes_for_the_mosaics_are_refused_with_their_number(tiny: Store) -> None:
    with pytest.raises(ValueError, match="has 8 tubes in 8 train videos, 20 are needed for 5 mosaics; use a smaller ipc"):
        optdistill.distill(tiny.train, FIVE, optdistill.Config(boxes=1), np.random.default_rng(0))
