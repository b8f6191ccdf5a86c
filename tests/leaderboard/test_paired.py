"""The interval of a difference covers the variation of videos, groups of videos, students and distillations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.builders.commands import call
from tests.builders.records import GOOD, a_record
from vddbench.leaderboard.bootstrap import Hits
from vddbench.leaderboard.paired import Difference, difference, pairs
from vddbench.records.files import write_record
from vddbench.records.predictions import Predictions

ALONE, NO_LABELS = np.full(200, ""), np.zeros(0, np.int32)


def answers(rng: np.random.Generator, ease: np.ndarray, distillations: int, students: int, spread: float = 0.0) -> Hits:
    """Random ones of a method that gets video v right with probability ease[v], give or take its seeds' `spread`: that of a
    single distillation can't be known, so there it is none."""
    of_sets = rng.normal(0, spread if distillations > 1 else 0, (distillations, 1, 1))
    shifts = of_sets + rng.normal(0, spread, (distillations, students, 1))
    return list((rng.random((distillations, students, len(ease))) < np.clip(ease + shifts, 0, 1)).astype(float))


def width(found: Difference) -> float:
    return found.high - found.low


def test_a_method_does_not_differ_from_itself_and_the_sign_follows_the_order() -> None:
    rng = np.random.default_rng(0)
    one, two = (answers(rng, np.full(200, ease), 1, 4) for ease in (0.7, 0.3))
    found, back = difference(one, two, ALONE, NO_LABELS), difference(two, one, ALONE, NO_LABELS)
    assert found.top1 == pytest.approx(float(np.mean(one) - np.mean(two))) and found.runs == (4, 4)
    assert 0.25 < found.low < found.top1 < found.high < 0.55
    assert back.top1 == -found.top1 and back.high < 0
    same = np.repeat(one[0][:1], 3, axis=0)  # three students that answer alike
    nothing = difference([same], [same], ALONE, NO_LABELS)
    assert (nothing.top1, nothing.low, nothing.high) == (0, 0, 0)


def test_what_makes_a_video_hard_for_both_cancels() -> None:
    rng = np.random.default_rng(0)
    hard = np.repeat([0.0, 1.0], 100)
    one, two = answers(rng, hard, 1, 3), answers(rng, hard[::-1], 1, 3)
    assert width(difference(one, one, ALONE, NO_LABELS)) == 0 and width(difference(one, two, ALONE, NO_LABELS)) > 0.2


def test_videos_of_one_group_count_as_one_observation() -> None:
    rng = np.random.default_rng(0)
    ease = np.repeat(rng.random(10), 20)  # by scene
    one, two = answers(rng, ease, 1, 3), answers(rng, np.full(200, 0.5), 1, 3)
    scenes = np.repeat([f"scene{i}" for i in range(10)], 20)
    assert width(difference(one, two, scenes, NO_LABELS)) > 1.5 * width(difference(one, two, ALONE, NO_LABELS))


def test_too_few_students_or_groups_give_no_interval() -> None:
    rng = np.random.default_rng(0)
    ease = np.full(200, 0.5)
    three, one = answers(rng, ease, 1, 3), answers(rng, ease, 1, 1)
    for found in (difference(three, one, ALONE, NO_LABELS), difference(three, three, np.full(200, "one scene"), NO_LABELS)):
        assert np.isnan(found.low) and np.isnan(found.high)
    assert np.isnan(difference(three, answers(rng, ease, 3, 1), ALONE, NO_LABELS).low)


def test_seeds_that_vary_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    ease = np.full(200, 0.5)
    steady, wild = answers(rng, ease, 2, 5), answers(rng, ease, 2, 5, spread=0.2)
    other = answers(rng, ease, 2, 5)
    assert width(difference(wild, other, ALONE, NO_LABELS)) > 2 * width(difference(steady, other, ALONE, NO_LABELS))


# --- records ---------------------------------------------------------------------------------------------------------


def record(
    root: Path, method: str, hits: Sequence[bool], seed: int, distill_seed: int = 0, task: str = "toy-ipc1", sha: str = ""
) -> None:
    n = len(hits)
    label = np.zeros(n, np.int32)
    top5 = np.array([[0, 1, 2] if hit else [1, 0, 2] for hit in hits], np.int32)
    fields = {**vars(GOOD), "video": np.array([f"v{i}" for i in range(n)]), "group": np.full(n, ""), "label": label}
    fields |= {"top5": top5, "true_probability": np.full(n, 0.5, np.float32), "centre_top1": label}
    sha = sha or (method.encode().hex() + f"{distill_seed}" * 64)[:64]
    made = a_record(
        method=method, seed=seed, distill_seed=distill_seed, submission_sha256=sha, task=task, num_test=n,
        top1=float(np.mean(hits)), centre_top1=1.0,
    )  # fmt: skip
    write_record(root, made, Predictions(**fields))


def only_difference(root: Path) -> Difference:
    [pair] = pairs([root], "dm", "random")
    return pair.difference()


def test_records_are_compared_over_all_their_seeds(tmp_path: Path) -> None:
    for seed in range(3):
        record(tmp_path, "random", [True, *[False] * 19], seed)
        for distill_seed in range(2):
            record(tmp_path, "dm", [True] * (15 + distill_seed) + [False] * (5 - distill_seed), seed, distill_seed)
    found = only_difference(tmp_path)
    assert found.first == pytest.approx((0.75 + 0.8) / 2) and found.second == pytest.approx(0.05)
    assert found.runs == (6, 3) and 0.3 < found.low < found.top1 < found.high <= 1
    code, output = call("diff", "dm", "random", "--results", tmp_path)
    assert (
        code == 0
        and "dm 77.5%, random 5.0%: +72.5 points" in output
        and "; dm is better (6 students of 2 distillations and 3 students of 1 distillation)" in output
    )


def test_a_set_of_too_few_students_is_left_out_as_in_rank(tmp_path: Path) -> None:
    for seed in range(3):
        record(tmp_path, "random", [True, *[False] * 19], seed)
        record(tmp_path, "dm", [True] * 15 + [False] * 5, seed)
    record(tmp_path, "dm", [True] * 20, 0, distill_seed=1)
    found = only_difference(tmp_path)
    assert found.runs == (3, 3) and found.sets == (1, 1) and found.first == pytest.approx(0.75)


def test_refused_records_are_named_and_two_payloads_of_one_distillation_seed_are_not_mixed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        record(tmp_path, "random", [True, False], seed)
        record(tmp_path, "dm", [True, False], seed)
    (predictions,) = tmp_path.glob("toy-ipc1/random@*/convnet3d/seed2.safetensors")
    predictions.write_bytes(predictions.read_bytes() + b" ")
    found = only_difference(tmp_path)
    assert np.isnan(found.low) and found.runs == (3, 2)
    assert "left out" in capfd.readouterr().err
    _, output = call("diff", "dm", "random", "--results", tmp_path)
    assert "no interval: random has 2 students, it needs 3" in output and "better" not in output
    record(tmp_path, "dm", [True, True], 1, sha="c" * 64)
    with pytest.raises(ValueError, match=r"two sets are dm of distillation seed 0: .*dm@646d.*dm@cccccccc"):
        only_difference(tmp_path)


def test_unknown_methods_and_methods_without_a_common_table_are_refused(tmp_path: Path) -> None:
    record(tmp_path, "random", [True, False], 0)
    record(tmp_path, "dm", [True, False], 0, task="toy-ipc5")
    with pytest.raises(LookupError, match="no method with records named 'dn'; did you mean dm"):
        pairs([tmp_path], "dn", "random")
    with pytest.raises(LookupError, match="have no task, student and track in common"):
        only_difference(tmp_path)
