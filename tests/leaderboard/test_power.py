"""The estimated number of students agrees with a simulation of that many."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.builders.records import GOOD, a_record, seeds
from vddbench.leaderboard.bootstrap import Variance, draw, score_difference
from vddbench.leaderboard.power import Spread, detectable, show, spread_of, students_needed
from vddbench.leaderboard.videos import drawn_videos
from vddbench.records.files import write_record


def test_smaller_differences_need_more_students_and_few_videos_cannot_detect_them() -> None:
    spread = Spread(Variance(0.02**2, 8), Variance(0.01**2, 99), methods=2)
    needed = [students_needed(spread, delta) for delta in (0.2, 0.1, 0.05, 0.04)]
    assert all(n is not None for n in needed) and needed == sorted(needed) and needed[0] < needed[-1]
    assert students_needed(spread, 0.02) is None  # 2.8 standard errors of the videos alone are 0.028


def test_the_detectable_difference_agrees_with_the_number_of_students_needed() -> None:
    spread = Spread(Variance(0.02**2, 8), Variance(0.01**2, 99), methods=2)
    needed = students_needed(spread, 0.05)
    assert needed is not None and detectable(spread, needed) <= 0.05 < detectable(spread, needed - 1)


def test_that_many_students_detect_it_in_four_of_five_cases() -> None:
    """300 simulations in which students differ and some videos are hard for one method."""
    rng, videos, delta, detected = np.random.default_rng(0), 400, 0.10, 0
    spread = Spread(Variance(0.03**2 + 0.25 / videos, 8), Variance(2 * 0.1**2 / videos, videos - 1), methods=2)
    needed = students_needed(spread, delta)
    assert needed is not None and 2 < needed < 10
    weights = drawn_videos(np.full(videos, ""), np.zeros(0, np.int32), "power", draws=0)
    for trial in range(300):
        drawn = []
        for better in (delta, 0.0):
            ease = np.clip(0.45 + better + rng.normal(0, 0.1, videos), 0, 1)
            shifts = rng.normal(0, 0.03, (needed, 1))
            drawn.append(draw([rng.random((needed, videos)) < ease + shifts], weights, f"{trial} {better}"))
        detected += score_difference(*drawn).low > 0
    assert detected / 300 >= 0.7


def test_spread_is_read_from_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spread = spread_of([*seeds("a", [0.4, 0.5, 0.6]), *seeds("b", [0.2, 0.3, 0.4])])
    assert spread is not None and spread.student.value == pytest.approx(0.01) and spread.methods == 2
    assert spread_of(seeds("a", [0.4, 0.5])) is None
    for method in ("one", "two"):
        for i in range(3):
            write_record(tmp_path, a_record(method=method, seed=i), GOOD)
    show([tmp_path], 5.0, None, None)
    assert "toy-ipc1 convnet3d hard labels" in (text := capsys.readouterr().out)
    show([tmp_path], 5.0, None, None, as_json=True)
    [answer] = json.loads(capsys.readouterr().out)
    assert f": {answer['students']} students of each set detect a difference of 5 points between two sets with" in text
    with pytest.raises(FileNotFoundError, match="vddbench evaluate"):
        show([tmp_path / "none"], 5.0, None, None)
    write_record(tmp_path / "one", a_record(), GOOD)
    with pytest.raises(LookupError, match="no table of toy-ipc1 has two sets of 2 or more students"):
        show([tmp_path / "one"], 5.0, "toy-ipc1", None)
