"""The demo says what the package's records show, and whether the student trained here is the recorded one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vddbench.commands.demo import LIVE, QUESTIONS, STUDENT, TASK, answer, compared, submission, verdict
from vddbench.commands.demo_picture import FRAME_MILLISECONDS, Row, write_picture
from vddbench.data.datasets.movingshapes import SPEC
from vddbench.leaderboard.evidence import BUNDLED
from vddbench.leaderboard.paired import Difference
from vddbench.spec import ClipSet
from vddbench.submissions.manifest import read_manifest


def record_of(method: str, seed: int) -> Path:
    [path] = (BUNDLED / TASK).glob(f"{method}@*/{STUDENT}/seed{seed}.json")
    return path


def test_the_same_answers_reproduce_a_record_and_those_of_another_set_do_not() -> None:
    recorded = record_of(LIVE, 0)
    assert "400 of 400 answers are equal\nreproduced: inside the 95 % interval" in compared(recorded, recorded)
    assert "\nreproduced: inside" in compared(record_of(LIVE, 1), recorded)  # as rounding may change a student
    assert "\nnot reproduced: outside" in compared(record_of("random_video_tenth", 0), recorded)


def test_eight_sets_of_the_package_are_those_of_its_records() -> None:
    """The folder of a clone may hold sets of its user, too."""
    sets = (read_manifest(path.parent) for path in submission(LIVE).parent.glob("*/manifest.json"))
    assert sum((BUNDLED / one.cell / STUDENT / "seed0.json").is_file() for one in sets) >= 8


def test_motion_and_a_codec_win_and_the_quick_learned_set_is_not_claimed_to() -> None:
    motion, codec, learned, smaller, gain = [answer(question) for question in QUESTIONS]
    assert ": yes. random_jpeg 98.0%, random_still 21.8%" in motion
    assert ": yes. random_video_tenth 99.4%, random 23.2%" in codec
    assert ": no, it is worse. dm_fast 18.2%, random 23.2%" in learned
    assert ": yes. dm_factor_fast 34.0%, random 23.2%: +10.8 points" in smaller
    assert ": no, it is worse. dm_factor_fast 34.0%, random_small 55.4%" in gain


@pytest.mark.parametrize(("low", "high", "says"), [(0.01, 0.2, "yes."), (-0.2, -0.01, "no, it is worse."), (-0.1, 0.1, "not")])
def test_an_answer_follows_the_interval(low: float, high: float, says: str) -> None:
    result = Difference(top1=(low + high) / 2, low=low, high=high, first=0.5, second=0.4, runs=(3, 3), sets=(1, 1))
    assert verdict(QUESTIONS[0], result).startswith(says)


def test_the_picture_plays_the_clips_and_marks_the_student_trained_here(tmp_path: Path) -> None:
    clips = ClipSet(clips=torch.zeros(8, 8, 64, 64, 3, dtype=torch.uint8), labels=torch.arange(8))
    clips.clips[:, 4:] = 255  # black, then white
    row = Row("dm", 0.5, 0.4, 0.6, 1000, 1.0, clips, None)
    write_picture("title", SPEC, [row, row._replace(low=float("nan"))], tmp_path / "without.gif")
    write_picture("title", SPEC, [row._replace(here=0.9), row], tmp_path / "with.gif")
    shown = []
    with Image.open(tmp_path / "without.gif") as picture:
        for frame in range(picture.n_frames):
            picture.seek(frame)
            shown.append(np.asarray(picture.convert("L")))
    assert picture.info["loop"] == 0 and picture.info["duration"] == 4 * FRAME_MILLISECONDS  # equal frames are joined
    assert len(shown) == 2 and (shown[0] < 20).sum() > (shown[1] < 20).sum() + 2 * 8 * 40 * 40
    with Image.open(tmp_path / "with.gif") as picture:
        red = np.asarray(picture.convert("RGB"), int)
    assert ((red[:, :, 0] > 150) & (red[:, :, 1] < 80)).sum() > 50
