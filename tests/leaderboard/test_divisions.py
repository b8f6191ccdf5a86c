"""Two questions, two rankings: `ipc` for at most ipc clips per class, `open` for whatever the bytes of the budget decode to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.builders.commands import call
from tests.builders.records import FULL, GOOD, a_record, seeds
from vddbench.leaderboard.aggregate import aggregate
from vddbench.leaderboard.divisions import nobody, question
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.rank import rank, ranked_rows
from vddbench.leaderboard.tables import show, tables
from vddbench.records.files import write_record
from vddbench.spec import Task

CLIPS = {"random": 1.0, "dm": 1.0, "jpeg": 16.0, "still": 3.0}
SCORES = {"random": [0.10, 0.12, 0.14], "dm": [0.30, 0.32, 0.34], "jpeg": [0.5, 0.52, 0.54], "still": [0.2, 0.21, 0.22]}


def field(*methods: str, task: str = "toy-ipc1") -> list[Evaluated]:
    """Three students of each method."""
    return [one for name in methods for one in seeds(name, SCORES[name], clips_per_class=CLIPS[name], task=task)]


def of(rows: pd.DataFrame, division: str) -> pd.DataFrame:
    return rows[rows["division"] == division].reset_index(drop=True)


def altered(one: Evaluated, **fields: Any) -> Evaluated:
    return replace(one, record=one.record.model_copy(update=fields))


def test_each_division_has_its_own_ranks_and_every_entry_of_ipc_is_in_open() -> None:
    rows = rank([*field(*CLIPS), *seeds("full", [0.8] * 3, **FULL)])
    assert of(rows, "ipc").set_index("method")["rank"].to_dict() == {"dm": 1, "random": 2}
    assert of(rows, "open").set_index("method")["rank"].to_dict() == {"jpeg": 1, "dm": 2, "still": 3, "random": 4}
    assert of(rows, "")["method"].tolist() == ["full"]
    both = [
        of(rows, name).set_index("method").loc["dm", ["top1", "low", "high", "gain", "gap_closed"]] for name in ("ipc", "open")
    ]
    assert both[0].equals(both[1])


def test_ranks_of_a_division_do_not_change_with_entries_of_the_other() -> None:
    before, after = rank(field("random", "dm")), rank(field(*CLIPS))
    assert of(after, "ipc").equals(of(before, "ipc"))
    with_few = rank([*field("jpeg", "random"), *seeds("jpeg", [0.9] * 3, "cd", clips_per_class=1.0, distill_seed=1)])
    assert of(with_few, "ipc").equals(
        of(rank([*field("random"), *seeds("jpeg", [0.9] * 3, "cd", clips_per_class=1.0, distill_seed=1)]), "ipc")
    )
    assert of(with_few, "open").set_index("method")["distillations"]["jpeg"] == 2


def test_a_set_of_many_clips_cannot_take_the_rank_of_its_owners_set_of_few() -> None:
    """A near-copy of an earlier entry has no rank where both compete."""
    many = [replace(one, first=one.hits.astype(np.int16)) for one in field("jpeg")]
    few = [altered(one, method="few", submission_sha256="cd" * 32, clips_per_class=1.0) for one in many]
    rows = rank([*(altered(one, date="2025-01-01T00:00:00Z") for one in many), *few, *field("random")])
    assert of(rows, "open").set_index("method")["rank"].isna()["few"]
    assert of(rows, "ipc").set_index("method")["rank"]["few"] == 1


@pytest.mark.parametrize(("task", "clips", "divisions"), [
    ("toy-ipc1", 1.0, ["ipc", "open"]),
    ("toy-ipc1", 4 / 3, ["open"]),  # 4 clips of 3 classes
    ("toy-ipc5", 5.0, ["ipc", "open"]),
    ("toy-ipc5", 0.5, ["ipc", "open"]),
    ("toy-ipc5", 5.001, ["open"]),
])  # fmt: skip
def test_the_number_of_decoded_clips_decides(task: str, clips: float, divisions: list[str]) -> None:
    assert rank(seeds("mine", [0.5] * 3, task=task, clips_per_class=clips))["division"].tolist() == divisions


def test_one_record_with_a_small_number_of_clips_moves_no_payload_into_ipc() -> None:
    one, two, three = field("jpeg")
    assert rank([one, two, altered(three, clips_per_class=1.0)])["division"].tolist() == ["open"]


def test_random_is_the_reference_of_a_division_only_if_it_is_in_it() -> None:
    rows = rank([*seeds("random", [0.1] * 3, clips_per_class=2.0), *field("dm")])
    assert of(rows, "ipc")["gain"].isna().all() and of(rows, "open").set_index("method")["gain"]["dm"] == pytest.approx(0.22)


def test_tables_of_all_tasks_are_combined_within_a_division() -> None:
    found = [*seeds("full", [0.8] * 3, **FULL), *field(*CLIPS), *field(*CLIPS, task="toy-ipc5")]
    rows = pd.DataFrame(aggregate(found))
    assert of(rows, "open")["method"].tolist() == ["jpeg", "dm", "still", "random"]
    assert of(rows, "ipc")["method"].tolist() == ["dm", "random", "still"]
    assert of(rows, "ipc")["missing"].tolist() == ["", "", "toy-ipc1"]  # 3 clips per class of `still`


def test_every_table_says_which_question_it_answers_and_an_empty_division_says_so() -> None:
    ipc, open_ = tables(ranked_rows(field("jpeg")), "simple")
    task = Task.parse("toy-ipc1")
    assert ipc.title.endswith("division ipc") and ipc.text == f"{question(task, 'ipc')}\n\n{nobody(task, 'ipc')}"
    assert "every set decodes to more than 1 clip per class" in ipc.text
    assert open_.title.endswith("division open") and open_.text.startswith(question(task, "open")) and "jpeg" in open_.text


def written(root: Path) -> Path:
    """Records of three students: `mine` in both divisions, `many` in `open` alone."""
    for seed in range(3):
        write_record(root, a_record(seed=seed), GOOD)
        write_record(root, a_record(seed=seed, method="many", submission_sha256="cd" * 32, clips_per_class=4.0), GOOD)
    return root


@pytest.mark.parametrize("form", ["table", "md", "csv", "json", "latex"])
def test_every_format_shows_one_division_if_it_is_asked_for_and_ipc_first_otherwise(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path)
    printed = {}
    for division in ("ipc", "open", None):
        show([tmp_path], None, None, form, division=division)
        printed[division] = capsys.readouterr().out
    assert "many" not in printed["ipc"] and "mine" in printed["ipc"] and "many" in printed["open"]
    whole = printed[None]
    assert 0 <= whole.index("ipc", whole.index("hard")) < whole.index("open") < whole.index("many")


def test_a_mistyped_division_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    root = ["--results", str(written(tmp_path))]
    for command in (["rank"], ["diff", "mine", "many"], ["power"]):
        code, text = call(*command, *root, "--division", "opne")
        assert code == 2 and "no division named 'opne'; did you mean open? (known: ipc, open)" in text


def test_diff_and_power_say_the_division(tmp_path: Path) -> None:
    root = ["--results", str(written(tmp_path))]
    code, text = call("diff", "mine", "many", *root)
    assert code == 0 and "hard labels · division open: mine" in text and "division ipc" not in text
    code, text = call("diff", "mine", "many", *root, "--division", "ipc")
    assert code == 2 and "of division ipc in common" in text and "is in division open only" in text
    for seed in range(3):
        write_record(tmp_path, a_record(seed=seed, method="more", submission_sha256="ef" * 32), GOOD)
    code, text = call("diff", "mine", "more", *root)
    assert code == 0 and "division ipc and open: mine" in text
    code, text = call("power", *root)
    assert code == 0 and "labels, division ipc: " in text and "labels, division open: " in text


@pytest.mark.parametrize("field_", ['"clips_per_class": 1.0,', '"clips_per_class": 0.0,'])
def test_a_record_without_a_number_of_clips_is_left_out_in_a_sentence(
    tmp_path: Path, field_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path)
    path = next(tmp_path.glob("*/mine@*/*/seed0.json"))
    text = path.read_text()
    assert '"clips_per_class": 1.0,' in text
    path.write_text(text.replace('"clips_per_class": 1.0,', "" if field_.endswith("1.0,") else field_))
    show([tmp_path], None, None, "table")
    error = capsys.readouterr().err
    assert "seed0.json is not valid: 'clips_per_class': " in error and "evaluate this cell again" in error
