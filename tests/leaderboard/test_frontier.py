"""The codec curve, the Pareto front, and what a table says about them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from vddbench.leaderboard.bootstrap import Drawn, draw, score_difference
from vddbench.leaderboard.frontier import Sized, curve_of, frontier, mixed, on_front, sentence
from vddbench.leaderboard.videos import Videos, drawn_videos
from vddbench.submissions.method_names import is_codec


def toy_videos(count: int = 400) -> Videos:
    return drawn_videos(np.full(count, ""), np.arange(count) % 4, "toy")


def drawn(videos: Videos, score: float, key: str) -> Drawn:
    """Three students that are right on about this share of the videos."""
    rng = np.random.default_rng(len(key) + int(1000 * score))
    return draw([rng.random((3, len(videos.cluster))) < score], videos, key)


def sized(videos: Videos, entries: dict[str, tuple[int, float]]) -> list[Sized]:
    return [Sized(method, size, drawn(videos, score, method)) for method, (size, score) in entries.items()]


CODEC = {"random_video": (1_000_000, 0.6), "random_video_tenth": (100_000, 0.4), "random_video_hundredth": (10_000, 0.2)}


def test_points_of_the_curve_are_recognised_by_name() -> None:
    assert [is_codec(name) for name in ("random_video", "random_video_tenth", "random_videos", "random")] == [1, 1, 0, 0]


def test_the_curve_is_linear_in_the_logarithm_of_bytes_and_ends_at_its_points() -> None:
    points = sized(toy_videos(), CODEC)
    curve = curve_of(points)
    assert curve is not None and [point.payload_bytes for point in curve.points] == [10_000, 100_000, 1_000_000]
    half_way = curve.at(round(10**5.5))
    assert half_way is not None
    assert half_way.score == pytest.approx((points[0].drawn.score + points[1].drawn.score) / 2, abs=1e-6)
    assert curve.at(100_000) is points[1].drawn and curve.at(1_000_000) is points[0].drawn
    assert curve.at(9_999) is None and curve.at(2_000_000) is points[0].drawn  # a smaller set fits into more bytes too
    assert curve_of(points[:1]) is None and curve_of([]) is None


def test_a_size_that_is_no_better_than_a_smaller_one_is_not_a_point_of_the_curve() -> None:
    """Nobody has to store more clips than are good."""
    points = sized(toy_videos(), {**CODEC, "random_video": (1_000_000, 0.3), "random_video_half": (500_000, 0.35)})
    curve = curve_of(points)
    assert curve is not None
    assert [point.method for point in curve.points] == ["random_video_hundredth", "random_video_tenth"]
    for size in (100_000, 300_000, 500_000, 1_000_000, 5_000_000):
        at = curve.at(size)
        assert at is not None and at.score == curve.points[1].drawn.score


def test_the_band_contains_95_percent_of_the_mixed_draws() -> None:
    """Of students that answer alike. Students that differ give a narrower band: two points know more about their spread."""
    videos = toy_videos()
    one, two = (draw([np.repeat(np.random.default_rng(i).random((1, 400)) < 0.5, 3, axis=0)], videos, f"{i}") for i in (1, 2))
    at = mixed(one, two, 0.5)
    low, high = np.percentile((one.scores + two.scores) / 2, [2.5, 97.5])
    assert at.interval == pytest.approx((low, high), abs=0.005) and high - low < 0.8 * (one.interval[1] - one.interval[0])


def test_an_entry_of_the_curves_own_answers_does_not_differ_from_it() -> None:
    points = sized(toy_videos(), CODEC)
    curve = curve_of(points)
    assert curve is not None
    at = curve.at(100_000)
    assert at is not None and score_difference(points[1].drawn, at).difference == 0


def test_front_of_a_few_points() -> None:
    sizes = [10, 10, 20, 30, 30, 40]
    scores = np.array([0.2, 0.3, 0.25, 0.4, 0.4, 0.4])
    assert on_front(scores, sizes).tolist() == [False, True, False, True, True, False]
    assert on_front(np.stack([scores, 1 - scores], axis=1), sizes)[:, 1].tolist() == [True, False, False, False, False, False]


def test_the_probability_of_the_front_is_one_half_for_two_equal_entries_of_one_size() -> None:
    videos = toy_videos()
    rng = np.random.default_rng(0)
    entries = [Sized(name, 10, draw([rng.random((3, 400)) < 0.5], videos, name)) for name in ("a", "b")]
    entries = [one._replace(drawn=replace(one.drawn, score=0.5)) for one in entries]
    probabilities = [row.pareto_probability for row in frontier(entries)]
    assert probabilities == pytest.approx([0.5, 0.5], abs=0.1) and sum(probabilities) == pytest.approx(1, abs=1e-9)


def table(entries: dict[str, tuple[int, float]]) -> pd.DataFrame:
    of_table = sized(toy_videos(), entries)
    rows = [
        {"method": one.method, "payload_bytes": one.payload_bytes, **columns._asdict()}
        for one, columns in zip(of_table, frontier(of_table), strict=True)
    ]
    return pd.DataFrame(rows)


def test_methods_above_below_on_and_left_of_the_curve_are_counted() -> None:
    methods = {"good": (50_000, 0.6), "bad": (200_000, 0.2), "as_good": (100_000, 0.41), "tiny": (50, 0.1)}
    rows = table({**CODEC, **methods}).set_index("method")
    assert rows["over_codec_low"]["good"] > 0 > rows["over_codec_high"]["bad"]
    assert rows["over_codec"][["tiny", *CODEC]].isna().all()
    assert rows["pareto"].to_dict() == {
        "random_video": rows["pareto"]["random_video"], "random_video_tenth": False, "random_video_hundredth": True,
        "good": True, "bad": False, "as_good": False, "tiny": True,
    }  # fmt: skip
    assert sentence(rows.reset_index().to_dict("records")) == (
        "1 of 4 methods lies above what AV1 gives at their bytes; 1 lies below; for 1 the interval of the difference contains 0"
        "; 1 is smaller than all sizes of the curve and not compared."
    )


def test_without_two_sizes_one_sentence_says_that_there_is_no_curve() -> None:
    rows = table({"random_video": CODEC["random_video"], "mine": (500, 0.3)})
    assert rows["over_codec"].isna().all()
    assert "No codec curve" in sentence(rows.to_dict("records")) and "this table has 1." in sentence(rows.to_dict("records"))
    assert sentence(rows[rows["method"] == "random_video"].to_dict("records")) == "" and frontier([]) == []
