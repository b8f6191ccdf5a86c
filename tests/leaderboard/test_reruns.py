"""A re-run is a record that names its maker; whether it agrees with the author's record is computed from both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.records import GOOD, a_record
from vddbench.leaderboard import reruns as module
from vddbench.leaderboard.evidence import load
from vddbench.leaderboard.maintainers import local_maintainers, parse_maintainers
from vddbench.leaderboard.reruns import Rerun, difference, reruns
from vddbench.leaderboard.videos import drawn_videos
from vddbench.records.files import write_record
from vddbench.records.predictions import Predictions

VIDEOS = 200
ALONE, NO_LABELS = np.full(VIDEOS, ""), np.zeros(0, np.int32)
SHA = "ab" * 32


def answers(num_right: int, of: int = 40) -> Predictions:
    """For videos of three classes, each video alone."""
    label = (np.arange(of) % 3).astype(np.int32)
    right = np.arange(of) < num_right
    top5 = np.stack([(label + i + ~right) % 3 for i in range(3)], axis=1).astype(np.int32)
    return Predictions(
        video=np.array([f"v{i}" for i in range(of)]),
        group=np.full(of, ""),
        label=label,
        top5=top5,
        true_probability=np.full(of, 0.5, np.float32),
        centre_top1=top5[:, 0],
    )


def recorded(root: Path, num_right: int = 20, **fields: Any) -> Path:
    found = answers(num_right)
    return write_record(root, a_record(**{**found.scores(), "num_test": 40, **fields}), found)


def again(root: Path, num_right: int = 20, by: str = "anna", **fields: Any) -> Path:
    return recorded(root / by, num_right, **{"by": by, "train_seconds": 2.0, "date": "2026-02-01T00:00:00Z", **fields})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An author's three students, right on 19, 20 and 21 of 40 videos."""
    for seed in range(3):
        recorded(tmp_path / "results", 19 + seed, seed=seed)
    return tmp_path


def found(root: Path) -> tuple[list[Rerun], list[str]]:
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir()]
    by_sha, refused = reruns(load(folders))
    return by_sha.get(SHA, []), refused


def test_re_runs_of_several_people_are_compared_with_the_authors_record(root: Path) -> None:
    for by in ("anna", "owner"):
        again(root, 19, by)
    several, refused = found(root)
    assert [(one.by, one.original_top1, one.top1, one.inside) for one in several] == [
        ("anna", 0.475, 0.475, True),
        ("owner", 0.475, 0.475, True),
    ]
    assert not refused


@pytest.mark.parametrize(("num_right", "inside"), [(20, True), (40, False), (0, False)])
def test_a_single_re_run_is_compared_by_the_spread_of_the_authors_students(root: Path, num_right: int, inside: bool) -> None:
    again(root, num_right)
    assert [one.inside for one in found(root)[0]] == [inside]


def test_a_single_student_with_other_answers_tells_nothing(tmp_path: Path) -> None:
    recorded(tmp_path / "results")
    again(tmp_path, 21)
    assert [one.inside for one in found(tmp_path)[0]] == [None]


def test_authors_cannot_hide_a_false_claim_behind_students_that_spread(tmp_path: Path) -> None:
    for seed, num_right in enumerate([8, 40, 8, 40, 40]):
        recorded(tmp_path / "results", num_right, seed=seed)
        again(tmp_path, 8 + seed % 2, seed=seed)
    assert {one.inside for one in found(tmp_path)[0]} == {False}


def test_of_several_re_runs_by_one_person_the_earliest_counts(root: Path) -> None:
    again(root, 40, date="2026-03-02T00:00:00Z", train_seconds=4.0)
    (root / "anna").rename(root / "later")
    again(root, 19)
    assert [one.top1 for one in found(root)[0]] == [0.475]


def test_a_copy_with_another_date_is_not_a_re_run(root: Path) -> None:
    again(root, 19, train_seconds=1.0)
    several, [refused] = found(root)
    assert several == [] and "a copy, not a re-run" in refused


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seed": 7}, "no author's record of this cell"),
        ({"student": "convnet_gru"}, "no author's record of this cell"),
        ({"submission_sha256": "c" * 64}, "no author's record of this cell"),
        ({"distill_seed": 1}, "differs from the author's record"),
        ({"protocol_hash": "c" * 64}, "in protocol_hash"),
        ({"store_digest": "c" * 64}, "in store_digest"),
    ],
)
def test_a_record_of_something_else_is_not_a_re_run(root: Path, fields: dict[str, Any], words: str) -> None:
    again(root, 19, **fields)
    several, [refused] = found(root)
    assert several == [] and words in refused


def test_a_re_run_on_other_videos_is_refused(root: Path) -> None:
    record = a_record(by="anna", train_seconds=2.0)
    write_record(root / "anna", record, GOOD)
    several, [refused] = found(root)
    assert several == [] and "in test videos" in refused


def test_a_re_run_that_lies_is_named(root: Path) -> None:
    path = again(root, 19)
    path.write_text(path.read_text().replace('"top1": 0.475', '"top1": 0.5'))
    loaded = load([root / "results", root / "anna"])
    assert not loaded.reruns and "says top1 = 0.5" in loaded.refused[0]


def test_maintainers_stand_beside_a_results_folder_one_name_a_line(tmp_path: Path) -> None:
    assert local_maintainers([tmp_path / "records"]) == frozenset()
    (tmp_path / "MAINTAINERS").write_text("owner\n\nJane.Doe\n")
    assert local_maintainers([tmp_path / "records", tmp_path / "other"]) == {"owner", "Jane.Doe"}
    for text in (b"<b>x</b>", b"../x", b"a" * 97, b"-x"):
        with pytest.raises(ValueError, match="allowed: one Hub user name per line"):
            parse_maintainers(text)
    (tmp_path / "MAINTAINERS").write_text("Jane <jane@example.org>\n")
    with pytest.raises(ValueError, match=f"{tmp_path}/MAINTAINERS is read as .* beside it: MAINTAINERS contains '<jane@"):
        local_maintainers([tmp_path / "records"])
    (tmp_path / "MAINTAINERS").write_bytes(b"a\n" * 60_000)
    with pytest.raises(ValueError, match="120,000 bytes"):
        local_maintainers([tmp_path / "records"])


def students(rng: np.random.Generator, accuracy: list[float]) -> list[np.ndarray]:
    """Students of one distilled set, with these accuracies: some videos are hard for all of them."""
    hardness = np.linspace(0, 1, VIDEOS)
    orders = [np.argsort(np.argsort(hardness + rng.normal(0, 0.2, VIDEOS))) for _ in accuracy]
    return [np.asarray(order < round(score * VIDEOS)) for order, score in zip(orders, accuracy, strict=True)]


def passes(rng: np.random.Generator, num_students: int, spread: float, cheat: float) -> bool:
    """Whether 3 students on fresh seeds let `verify` accept claims of which every second is `cheat` too high."""
    scores = rng.normal(0.4, spread, (2, num_students))
    claimed = students(rng, [score + cheat * (i % 2 == 0) for i, score in enumerate(scores[0])])
    own = students(rng, list(scores[1][:3]))
    return not difference(claimed, own, ALONE, NO_LABELS, claimed).low > 0


@pytest.mark.parametrize(("num_students", "spread"), [(3, 0.01), (5, 0.01), (5, 0.02), (10, 0.03)])
def test_honest_claims_pass_and_half_of_them_inflated_by_30_points_do_not(
    monkeypatch: pytest.MonkeyPatch, num_students: int, spread: float
) -> None:
    videos = drawn_videos(ALONE, NO_LABELS, "once for all")
    monkeypatch.setattr(module, "drawn_videos", lambda *_, **__: videos)
    rng = np.random.default_rng(1)
    assert np.mean([passes(rng, num_students, spread, 0) for _ in range(300)]) >= 0.975 - 0.02  # what 300 draws leave open
    assert np.mean([passes(rng, num_students, spread, 0.3) for _ in range(200)]) <= 0.1
