"""A preview shows what a student sees, loops, and is small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.builders.submissions import LABELS, SPEC, clips, pixel_tensors, written
from vddbench.submissions import submission
from vddbench.submissions.previews import MAX_BYTES, MAX_FRAMES, Preview, animated, frames_of, write


def test_one_looping_picture_a_class(tmp_path: Path) -> None:
    found = submission.read(written(tmp_path / "submissions"), SPEC)
    previews = write(found, SPEC, tmp_path / "previews")
    assert previews[2] == Preview("class0002.webp", 2, "cat", "still0002.webp") and len(previews) == 3
    for preview in previews:
        with Image.open(tmp_path / "previews" / preview.file) as picture:
            assert (picture.format, picture.n_frames, picture.info["loop"], picture.size) == ("WEBP", 4, 0, (16, 16))
        with Image.open(tmp_path / "previews" / preview.still) as picture:
            assert (picture.format, picture.n_frames, picture.size) == ("WEBP", 1, (16, 16))


def test_it_shows_the_first_clip_of_the_class(tmp_path: Path) -> None:
    bright = torch.stack([torch.full(SPEC.clip_shape, value, dtype=torch.uint8) for value in (10, 120, 240)])
    path = written(tmp_path / "submissions", {"clips": bright, "labels": torch.tensor([2, 0, 2])})
    previews = write(submission.read(path, SPEC), SPEC, tmp_path)
    assert [preview.label for preview in previews] == [0, 2]  # no clip is labelled 1
    with Image.open(tmp_path / "class0002.webp") as picture:
        assert abs(float(np.asarray(picture.convert("RGB")).mean()) - 10) < 4


def test_of_soft_labels_the_surest_clip_is_shown(tmp_path: Path) -> None:
    grey = torch.stack([torch.full((4, 16, 16, 3), value, dtype=torch.uint8) for value in (20, 200)])
    soft = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]).half()
    path = written(tmp_path / "submissions", {"clips": grey, "labels": soft})
    previews = write(submission.read(path, SPEC), SPEC, tmp_path)
    assert [preview.class_name for preview in previews] == ["ant", "bee", "cat"]
    means = []
    for preview in previews:
        with Image.open(tmp_path / preview.file) as picture:
            means.append(float(np.asarray(picture.convert("RGB")).mean()))
    assert means[0] < 40 and means[1] < 40 and means[2] > 180


def test_only_so_many_classes(tmp_path: Path) -> None:
    found = submission.read(written(tmp_path / "submissions", pixel_tensors()), SPEC)
    assert [preview.label for preview in write(found, SPEC, tmp_path, max_classes=2)] == LABELS.tolist()[:2]


def test_noise_of_any_size_stays_small() -> None:
    rng = np.random.default_rng(0)
    for frames, side in ((16, 112), (32, 128)):
        noise = rng.integers(0, 256, (frames, side, side, 3), np.uint8)
        assert len(animated(noise)) <= MAX_BYTES


def test_long_and_unfinished_clips_are_pictures_all_the_same() -> None:
    clip = torch.full((100, 8, 8, 3), float("nan"))
    clip[0] = 1000.0
    frames = frames_of(clip)
    assert len(frames) <= MAX_FRAMES and frames[0].min() == 255 and frames[1:].max() == 0
    assert frames_of(clips()[0]).shape == SPEC.clip_shape
