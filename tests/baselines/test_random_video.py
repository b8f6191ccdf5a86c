"""The baseline `random_video`: which clips it takes, how many, and what survives an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vddbench.baselines import random_jpeg, random_video
from vddbench.data.store import Store
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.run import distill
from vddbench.spec import Task
from vddbench.submissions.decoders import video
from vddbench.submissions.payload import num_bytes

TASK = Task(dataset="tiny", ipc=1)


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path_of = random_video.work_path
    monkeypatch.setattr(random_video, "work_path", lambda *args: tmp_path / "cache" / path_of(*args).name)


def test_rounds_take_each_video_once_before_its_further_starts_and_no_clip_twice(tiny: Store) -> None:
    """Each class of `tiny` has 8 videos, of 8, 11 or 14 frames and so of 1, 4 or 7 clips of 8 frames."""
    rounds = list(random_video.draw(tiny.train, np.random.default_rng(0)))
    rows, starts = (np.stack(part) for part in zip(*rounds, strict=True))
    for label in range(8):
        of_class = np.flatnonzero(tiny.train.labels == label)
        assert set(rows[:, label]) == set(of_class) == set(rows[: len(of_class), label])
        clips = list(zip(rows[:, label].tolist(), starts[:, label].tolist(), strict=True))
        assert len(set(clips)) == len(clips) <= int((tiny.train.last_starts[of_class] + 1).sum())
    assert (starts <= tiny.train.last_starts[rows]).all() and (starts >= 0).all()
    per_class = [int((tiny.train.last_starts[tiny.train.labels == label] + 1).sum()) for label in range(8)]
    assert len(rounds) == min(per_class)


def test_rounds_fill_the_bytes_and_decode_to_the_clips_that_were_drawn(tiny: Store) -> None:
    filled = random_video.fill(tiny.train, 5000, 60, 0)
    tensors = filled.tensors
    num_rounds = filled.clips_per_class
    assert num_rounds >= 2 and torch.equal(tensors["labels"].bincount(), torch.full((8,), num_rounds))
    assert num_bytes(tensors) <= 5000
    more = random_video.fill(tiny.train, num_bytes(tensors) - 1, 60, 0)  # a byte less holds a round less
    assert more.clips_per_class == num_rounds - 1
    assert len(more.encoded) == num_rounds  # the cost includes the round that did not fit
    rows, starts = next(random_video.draw(tiny.train, np.random.default_rng(0)))
    difference = video.decode(tensors, tiny.spec).clips[:8].float() - tiny.train.clips(rows, starts).float()
    assert difference.abs().mean() < 8


@pytest.mark.parametrize("method", [random_jpeg, random_video])
@pytest.mark.parametrize("held_out", ["none", "a class"])
def test_without_videos_to_choose_a_setting_on_the_method_cannot_serve(method: Any, held_out: str, tiny: Store) -> None:
    validation = tiny.train.labels == (0 if held_out == "a class" else -1)
    train = replace(tiny.train, index=tiny.train.index.assign(validation=validation))
    with pytest.raises(CannotServe, match=r"tiny has \d+ validation videos, and class '\w+' has \d+ other train videos"):
        method.distill(train, TASK, method.Config(), np.random.default_rng(0))


def test_a_share_that_holds_no_round_is_refused_before_a_student_is_trained(tiny: Store) -> None:
    tiny_share = random_video.Config(share=0.001)
    with pytest.raises(ValueError, match=r"not even one clip per class fits 371 bytes .*at crf 30,45,60; use a larger share"):
        random_video.distill(tiny.train, TASK, tiny_share, np.random.default_rng(0))
    scores, refused = random_video.tune(tiny.train, TASK, 371, [30, 45], 0)
    assert not scores and len(refused) == 2  # encoded once each, which costs time


def test_work_done_before_an_interruption_is_not_repeated(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the second of two students trains: the next run trains that one only, and encodes nothing again."""
    monkeypatch.setitem(random_video.PRESETS, "hundredth", random_video.Config(share=0.01, crfs="45,60"))
    trained: list[int] = []

    def top1(validation: object, clips: object, *rest: object) -> float:
        if len(trained) == 1:
            trained.append(0)
            raise KeyboardInterrupt
        trained.append(1)
        return 0.5

    monkeypatch.setattr(random_video, "top1_on", top1)
    with pytest.raises(KeyboardInterrupt):
        distill("random_video", TASK, 0, tmp_path, preset="hundredth")
    files = set((tmp_path / "cache").iterdir())
    dates = {file: file.stat().st_mtime_ns for file in files}
    path = distill("random_video", TASK, 0, tmp_path, preset="hundredth")
    assert path.name == "random_video_hundredth" and trained == [1, 0, 1]
    assert len(files) >= 5 and all(file.stat().st_mtime_ns == dates[file] for file in files)  # 2 rounds at 2 crfs, a score
    again = distill("random_video", TASK, 0, tmp_path / "again", preset="hundredth")
    assert (path / "data.safetensors").read_bytes() == (again / "data.safetensors").read_bytes()
    assert trained == [1, 0, 1]
