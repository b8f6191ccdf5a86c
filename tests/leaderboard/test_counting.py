"""Nobody gets a better rank by leaving out seeds, by handing in one payload twice, or by claiming what nobody verified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.builders.records import VIDEOS, seeds
from tests.builders.records import rank as ranked
from tests.leaderboard.test_reruns import SHA, recorded
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.evidence import Evaluated, load
from vddbench.records.fresh_seeds import END, FIRST, first_fresh_seed

COMMIT = "c" * 40


def rank(evaluated: list[Evaluated]) -> pd.DataFrame:
    """The ranked rows without the mark that most made-up entries have: a single distillation."""
    rows = ranked(evaluated)
    return rows.assign(flags=[", ".join(mark for mark in flags.split(", ") if mark != "one set") for flags in rows["flags"]])


def renumbered(evaluated: list[Evaluated], numbers: list[int]) -> list[Evaluated]:
    return [
        replace(one, record=one.record.model_copy(update={"seed": seed})) for one, seed in zip(evaluated, numbers, strict=True)
    ]


def answered(evaluated: list[Evaluated], key: int = 0, **fields: Any) -> list[Evaluated]:
    """The same records with an answer for each video: class 0 is right, wrong answers are one of nine other classes."""
    made = []
    for one in evaluated:
        rng = np.random.default_rng([key, one.record.seed])
        first = np.where(one.hits, 0, rng.integers(1, 10, VIDEOS)).astype(np.int16)
        made.append(replace(one, first=first, **fields))
    return made


def nearly(evaluated: list[Evaluated], method: str, **fields: Any) -> list[Evaluated]:
    """Records of other bytes whose students give another answer for 3 of 1,000 videos."""
    made = []
    for one in evaluated:
        first, hits = one.first.copy(), one.hits.copy()
        changed = np.flatnonzero(~hits)[:3]
        first[changed] = first[changed] % 9 + 1
        told = {"method": method, "submission_sha256": (method.encode().hex() * 64)[:64], **fields}
        made.append(replace(one, record=one.record.model_copy(update=told), first=first))
    return made


@pytest.mark.parametrize("numbers", [[3, 4, 6], [1, 2, 3], [0, 1, 3]])
def test_entries_whose_seeds_have_a_gap_are_shown_last_without_a_rank(numbers: list[int]) -> None:
    rows = rank([*renumbered(seeds("picked", [0.74] * 3), numbers), *seeds("honest", [0.60] * 3)])
    assert rows["method"].tolist() == ["honest", "picked"] and rows["rank"].isna().tolist() == [False, True]
    assert rows["flags"].tolist() == ["", f"seeds not 0..n-1 ({' '.join(map(str, numbers))})"]


def test_one_distillation_with_a_gap_takes_the_rank_of_all() -> None:
    rows = rank([*seeds("mine", [0.5] * 3), *renumbered(seeds("mine", [0.5] * 3, "cd", distill_seed=1), [0, 1, 9])])
    assert rows["rank"].isna().all() and "seeds not 0..n-1 (0 1 9)" in rows["flags"][0]


def test_the_same_bytes_under_two_distillation_seeds_count_once() -> None:
    once = seeds("mine", [0.4, 0.5, 0.6])
    again = [replace(one, record=one.record.model_copy(update={"distill_seed": 1})) for one in once]
    one, two = rank(once).iloc[0], rank([*once, *again]).iloc[0]
    assert two["flags"] == "repeated payload (1 left out)" and two["distillations"] == 1
    assert (one["low"], one["high"], one["seeds"]) == (two["low"], two["high"], two["seeds"])


def test_a_near_copy_under_another_distillation_seed_counts_once() -> None:
    once = answered(seeds("mine", [0.4, 0.5, 0.6]))
    again = nearly(once, "mine", distill_seed=1, submission_sha256="ef" * 32)
    other = answered(seeds("mine", [0.4, 0.5, 0.6], "cd", distill_seed=2), key=1)
    row = rank([*once, *again, *other]).iloc[0]
    assert row["flags"] == "repeated payload (1 left out)" and row["distillations"] == 2


def with_clones(owner: str = "", of_clones: str = "") -> list[Evaluated]:
    """The first entry is better than the second by a bit more than chance; the second one has four clones."""
    first = answered(seeds("first", [0.522, 0.527, 0.532]), key=1)
    second = answered(seeds("second", [0.495, 0.50, 0.505]), key=2, owner=owner)
    theirs = [replace(one, owner=of_clones) for one in second]
    clones = [one for i in range(4) for one in nearly(theirs, f"clone{i}", date="2026-02-01T00:00:00Z")]
    return [*first, *second, *clones]


def test_clones_do_not_push_an_entry_from_rank_2_to_1() -> None:
    rows = rank(with_clones()).set_index("method")
    assert rows["rank"].dropna().to_dict() == {"first": 1, "second": 2}
    assert rows["flags"]["clone3"] == "near-copy (of second)"
    unrelated = [replace(one, first=np.zeros(0, np.int16)) for one in with_clones()]  # what the correction for many entries did
    assert rank(unrelated).set_index("method")["rank"]["second"] == 1


def test_a_copy_by_somebody_else_takes_nobodys_rank() -> None:
    rows = rank(with_clones("anna", "bob")).set_index("method")
    assert rows["rank"]["second"] >= 1 and not rows["flags"]["second"]
    assert rows["flags"]["clone0"] == "" and rows["flags"]["clone1"] == "near-copy (of clone0)"


def test_students_trained_on_frozen_frames_of_a_payload_are_no_copies_of_it() -> None:
    whole = answered(seeds("mine", [0.5] * 3))
    frozen = [
        replace(one, record=one.record.model_copy(update={"method": "mine_frozen", "trained_on": "frozen"})) for one in whole
    ]
    assert not any("near-copy" in flags for flags in rank([*whole, *frozen])["flags"])


def test_good_methods_that_agree_on_what_is_right_are_no_copies() -> None:
    rows = rank([*answered(seeds("a", [0.99] * 3), key=1), *answered(seeds("b", [0.99] * 3), key=2)])
    assert rows["rank"].tolist() == [1, 1] and rows["flags"].tolist() == ["", ""]


def test_fresh_seeds_follow_from_payload_and_commit_and_no_claim_has_them() -> None:
    assert first_fresh_seed(SHA, COMMIT) == first_fresh_seed(SHA, COMMIT) == 694_689_307
    several = {first_fresh_seed(SHA, f"{i:040x}") for i in range(1000)}
    several |= {first_fresh_seed(f"{i:064x}", COMMIT) for i in range(1000)}
    assert len(several) > 1990 and all(FIRST <= seed < END for seed in several)


def fresh(root: Path, rights: list[int], by: str = "owner", step: int = 1, drawn_from: str = COMMIT, **fields: Any) -> None:
    first = first_fresh_seed(SHA, COMMIT)
    for i, right in enumerate(rights):
        told = {"by": by, "drawn_from": drawn_from, "train_seconds": 2.0, "date": "2026-02-01T00:00:00Z", **fields}
        recorded(root / "fresh" / by, right, seed=first + step * i, **told)


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    """An author claims that five students get 30 of 40 videos right."""
    for seed in range(5):
        recorded(tmp_path / "results", 30, seed=seed)
    (tmp_path / "MAINTAINERS").write_text("owner\n")
    return tmp_path


def loaded(root: Path) -> tuple[list[Evaluated], list[str]]:
    found = load([root / "results", *(root / "fresh").glob("*")])
    return found.evaluated, found.refused


def test_three_verified_students_count_in_place_of_five_claimed_ones(claims: Path) -> None:
    fresh(claims, [20, 21, 22])
    evaluated, refused = loaded(claims)
    [row] = rank(evaluated).to_dict("records")
    assert not refused and (row["basis"], row["seeds"], row["rank"]) == ("verified", 3, 1)
    assert row["top1"] == pytest.approx(21 / 40)


@pytest.mark.parametrize(
    ("rights", "fields", "words"),
    [
        ([20, 21], {}, ""),
        ([20, 21, 22], {"by": "stranger"}, "stranger is not a maintainer"),
        ([20, 21, 22], {"step": 2}, "does not follow from its payload and the commit cccccccc"),
        ([20, 21, 22], {"drawn_from": "d" * 40}, "does not follow from its payload and the commit dddddddd"),
    ],
)
def test_claimed_students_count_without_enough_verified_ones(
    claims: Path, rights: list[int], fields: dict[str, Any], words: str
) -> None:
    fresh(claims, rights, **fields)
    evaluated, refused = loaded(claims)
    [row] = rank(evaluated).to_dict("records")
    assert (row["basis"], row["seeds"], row["top1"]) == ("claimed", 5, 0.75)
    assert len(refused) == (len(rights) if words else 0) and all(words in line for line in refused)


def test_distillations_that_nobody_verified_are_left_out_if_others_are_verified(claims: Path) -> None:
    fresh(claims, [20, 21, 22])
    for seed in range(5):
        recorded(claims / "results", 35, seed=seed, distill_seed=1, submission_sha256="cd" * 32)
    [entry] = entries(loaded(claims)[0])
    assert entry.basis == "verified" and {record.distill_seed for record in entry.records} == {0}
