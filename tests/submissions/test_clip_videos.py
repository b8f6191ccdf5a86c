"""Videos of a set's clips: evenly over the classes, within the limits, the same bytes again."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import torch

from tests.builders import submissions as tiny
from vddbench.spec import ClipSet
from vddbench.submissions.clip_videos import ClipVideo, write_videos


def test_limits_leave_every_class_its_first_clips(tmp_path: Path) -> None:
    clip_set = ClipSet(clips=tiny.clips(6), labels=torch.tensor([2, 2, 2, 0, 0, 1]))
    videos = write_videos(clip_set, tmp_path, max_clips=4)
    assert videos == [ClipVideo(f"clip{clip:05}.mp4", label, clip) for clip, label in ((0, 2), (1, 2), (3, 0), (5, 1))]
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "again").mkdir()
    two_files = len(whole["clip00000.mp4"]) + len(whole["clip00003.mp4"])
    few = write_videos(clip_set, tmp_path / "again", max_bytes=two_files)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}.items() <= whole.items()
    assert [video.clip for video in few] == [0, 3]


@pytest.mark.parametrize("labels", [torch.tensor([1]), torch.tensor([[0.1, 0.6, 0.3]])])
def test_odd_sizes_floats_and_soft_labels_become_videos(tmp_path: Path, labels: torch.Tensor) -> None:
    clips = torch.full((1, 4, 15, 15, 3), float("nan"))
    clips[:, :, :, 8:] = 300.0
    [video] = write_videos(ClipSet(clips=clips, labels=labels), tmp_path)
    assert video.label == 1
    with av.open(str(tmp_path / video.file)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 4 and frames[0].shape == (16, 16, 3) and frames[0][:, 0].max() < 50 and frames[0][:, 15].min() > 200
