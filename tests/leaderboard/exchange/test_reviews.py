"""A review counts when its two records bear it out; what came of it is computed from them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.records import GOOD, a_record
from vddbench.leaderboard.reviews import path_in, predicted, reruns, reviews
from vddbench.records.files import read_record, write_record
from vddbench.records.predictions import Predictions
from vddbench.records.record import Review


def answers(num_right: int) -> Predictions:
    """For four videos of three classes."""
    top5 = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1], [0, 1, 2]], np.int32)
    wrong = np.roll(top5, 1, axis=1)
    mixed = np.where((np.arange(4) < num_right)[:, None], top5, wrong)
    return Predictions(**{**vars(GOOD), "top5": mixed, "centre_top1": mixed[:, 0]})


def recorded(root: Path, num_right: int = 2, *, beside: bool = False, **more: Any) -> Path:
    found = answers(num_right)
    seconds = {"train_seconds": 2.0 if beside else 1.0}
    return write_record(root, a_record(**{**found.scores(), **seconds, **more}), found, beside=beside)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reviewed(root: Path, of: Path, rerun: Path, **more: Any) -> Path:
    told = {"of": sha256(of), "rerun": sha256(rerun), "date": "2026-03-01T00:00:00Z", **more}
    data = Review(**{"kind": "reproduced", "by": "anna", **told}).model_dump_json().encode()
    path = path_in(root.resolve().parent / "reviews", read_record(of)[0], data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(3):
        recorded(tmp_path / "results", 2, seed=seed)
    return tmp_path / "results"


def first(root: Path) -> Path:
    return root / "toy-ipc1/mine@abababab/convnet3d/seed0.json"


@pytest.mark.parametrize(("num_right", "inside"), [(2, True), (4, False), (0, False)])
def test_a_rerun_is_inside_when_it_is_where_another_student_is_due(root: Path, num_right: int, inside: bool) -> None:
    rerun = recorded(root, num_right, beside=True, date="2026-02-01T00:00:00Z")
    reviewed(root, first(root), rerun)
    counted, refused = reviews([root])
    [one] = counted["ab" * 32]
    assert (one.original_top1, one.top1, one.inside, refused) == (0.5, num_right / 4, inside, [])


def test_a_single_student_tells_nothing(tmp_path: Path) -> None:
    of = recorded(tmp_path / "results")
    reviewed(tmp_path / "results", of, recorded(tmp_path / "results", 1, beside=True, date="2026-02-01T00:00:00Z"))
    assert [one.inside for one in reviews([tmp_path / "results"])[0]["ab" * 32]] == [None]


def test_the_same_answers_to_the_bit_are_inside_wherever_others_are(tmp_path: Path) -> None:
    root = tmp_path / "results"
    of, *_ = (recorded(root, right, seed=seed) for seed, right in enumerate([4, *[0] * 12]))
    reviewed(root, of, recorded(root, 4, beside=True, date="2026-02-01T00:00:00Z"))
    assert [one.inside for one in reviews([root])[0]["ab" * 32]] == [True]


def test_a_copy_with_another_date_is_no_rerun(root: Path) -> None:
    reviewed(root, first(root), recorded(root, beside=True, date="2026-02-01T00:00:00Z", train_seconds=1.0))
    counted, [refused] = reviews([root])
    assert counted == {} and "a copy, not a re-run" in refused


def test_many_reviews_of_one_record_by_one_person_are_one(root: Path) -> None:
    good, bad = (recorded(root, right, beside=True, date="2026-02-01T00:00:00Z") for right in (2, 4))
    for day in range(3, 9):
        reviewed(root, first(root), good, date=f"2026-03-0{day}T00:00:00Z")
    reviewed(root, first(root), bad, date="2026-03-02T00:00:00Z")
    reviewed(root, first(root), good, by="berta")
    [found] = reviews([root])[0].values()
    assert [(one.by, one.inside) for one in found] == [("berta", True), ("anna", False)]  # of hers the earliest


def test_a_rerun_that_says_it_was_first_moves_no_interval(root: Path) -> None:
    reviewed(root, first(root), recorded(root, 4, beside=True, date="2020-02-01T00:00:00Z"))
    assert [one.inside for one in reviews([root])[0]["ab" * 32]] == [False]


def test_a_folder_in_place_of_a_review_and_a_key_twice_are_named(root: Path) -> None:
    rerun = recorded(root, beside=True, date="2026-02-01T00:00:00Z")
    path = reviewed(root, first(root), rerun)
    path.with_name("seed7.0123456789abcdef.json").mkdir()
    text = path.read_bytes().replace(b'{"format"', b'{"by":"anna","format"', 1)
    path.unlink()
    path_in(root.parent / "reviews", read_record(first(root))[0], text).write_bytes(text)
    counted, refused = reviews([root])
    assert counted == {} and "'by' appears twice" in refused[0] and "is no file" in refused[1]
    assert reruns(root.parent / "reviews") == set()


def test_the_two_records_may_stand_in_two_folders(root: Path, tmp_path: Path) -> None:
    rerun = recorded(tmp_path / "mine" / "results", date="2026-02-01T00:00:00Z", test_seconds=2.0)
    reviewed(tmp_path / "mine" / "results", first(root), rerun)
    counted, refused = reviews([root, tmp_path / "mine" / "results"])
    assert len(counted["ab" * 32]) == 1 and not refused
    assert "no valid record has the sha256" in reviews([tmp_path / "mine" / "results"])[1][0]


@pytest.mark.parametrize("field", ["seed", "student", "store_digest", "protocol_hash", "submission_sha256", "distill_seed"])
def test_a_review_of_two_different_cells_is_refused(root: Path, field: str) -> None:
    other = {"seed": 7, "student": "other", "distill_seed": 1}.get(field, "c" * 64)
    rerun = recorded(root, beside=True, date="2026-02-01T00:00:00Z", **{field: other})
    reviewed(root, first(root), rerun)
    counted, [refused] = reviews([root])
    assert counted == {} and "not two of one cell" in refused and field in refused


def test_a_record_is_no_rerun_of_itself(root: Path) -> None:
    reviewed(root, first(root), first(root))
    assert "one and the same" in reviews([root])[1][0]


def test_a_record_that_lies_bears_nothing_out(root: Path) -> None:
    rerun = recorded(root, beside=True, date="2026-02-01T00:00:00Z")
    rerun.write_text(rerun.read_text().replace('"top1": 0.5', '"top1": 0.25'))
    reviewed(root, first(root), rerun)
    assert "no valid record has the sha256" in reviews([root])[1][0]


def test_a_review_that_was_changed_moved_or_padded_is_refused(root: Path) -> None:
    rerun = recorded(root, beside=True, date="2026-02-01T00:00:00Z")
    path = reviewed(root, first(root), rerun)
    text = path.read_text()
    path.write_text(text.replace("anna", "berta"))
    assert "by its content it belongs at" in reviews([root])[1][0]
    path.write_text(text.replace('"format"', '"bonus":1,"format"'))
    assert "not valid" in reviews([root])[1][0]
    path.write_text(text + " " * 1_000_000)
    assert "at most 1,000,000 are read" in reviews([root])[1][0]
    path.write_text(text)
    moved = path.parent.with_name("other") / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert "by its content it belongs at" in reviews([root])[1][0]


@pytest.mark.parametrize("by", ["", "two words", "<b>x</b>", "../x", "a" * 97, "-x"])
def test_names_are_user_names(by: str) -> None:
    with pytest.raises(ValueError, match="by"):
        Review(kind="reproduced", by=by, of="a" * 64, rerun="b" * 64, date="2026-03-01T00:00:00Z")


def test_equal_scores_are_inside_their_own_interval() -> None:
    for score in (0.1, 1 / 3, 0.7):
        for n in (2, 3, 7):
            due = predicted([score] * n, 30)
            assert due is not None and due.low < score < due.high and due.students == n
    assert predicted([0.5], 30) is None


def test_95_of_100_new_students_are_inside() -> None:
    """Few students of scores in coarse steps: without the rounding counted, 77 % were inside at 2 students and 32 videos."""
    rng = np.random.default_rng(0)
    for students, videos in ((2, 32), (2, 100), (3, 32), (3, 1000), (5, 100)):
        for spread in (0.01, 0.03):
            scores = np.round(rng.normal(0.3, spread, (2000, students + 1)) * videos) / videos
            inside = 0
            for *known, new in scores.tolist():
                due = predicted(known, videos)
                assert due is not None
                inside += due.low <= new <= due.high
            assert inside / 2000 >= 0.935  # 95 % less what 2,000 draws leave open


def test_no_torch_is_needed() -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, vddbench.leaderboard.reviews; assert 'torch' not in sys.modules"], check=True
    )
