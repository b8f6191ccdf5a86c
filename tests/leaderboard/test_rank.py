"""Tables follow from the records and never compare what cannot be compared."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.builders.records import FULL, GOOD, a_record, rank, seeds
from vddbench.leaderboard.evidence import Evaluated, load
from vddbench.leaderboard.latex import escaped, latex
from vddbench.leaderboard.table_records import majority
from vddbench.leaderboard.tables import show, tables
from vddbench.records.files import published_path, read_record, write_record
from vddbench.records.predictions import Predictions


def changed(one: Evaluated, **fields: Any) -> Evaluated:
    return replace(one, record=one.record.model_copy(update=fields))


def test_golden_table() -> None:
    rows = rank(
        [
            *seeds("random", [0.10, 0.12, 0.14]),
            *seeds("better", [0.30, 0.32, 0.34], payload_bytes=5),
            *seeds("as_good", [0.31, 0.32, 0.33], payload_bytes=4),
            *seeds("lucky", [0.90]),
            *seeds("full", [0.8, 0.8, 0.8], task="toy-full", budget_bytes=None),
        ]
    )
    table = rows[rows["task"] == "toy-ipc1"].set_index("method")
    assert table["rank"].dropna().to_dict() == {"as_good": 1, "better": 1, "random": 3}
    assert table.index.tolist() == ["as_good", "better", "random", "lucky"]  # equal: fewer bytes first; without a rank: last
    assert (table["rank_low"]["random"], table["rank_high"]["random"]) == (3, 3)
    assert (table["rank_low"]["better"], table["rank_high"]["better"]) == (1, 2)
    assert table["gain"]["better"] == pytest.approx(0.20)
    assert table["gap_closed"]["better"] == pytest.approx(0.20 / 0.68)
    assert 0.1 < table["gain_low"]["better"] < 0.2 < table["gain_high"]["better"] < 0.3
    assert 0.1 < table["gap_low"]["better"] < 0.20 / 0.68 < table["gap_high"]["better"] < 0.4
    assert table["low"]["better"] < 0.32 < table["high"]["better"]
    assert table["budget_share"]["better"] == 0.5
    assert table["flags"]["lucky"] == "under 3 students, one set"  # shown, marked, not ranked
    assert rows[rows["method"] == "full"]["rank"].isna().all()


def test_entries_without_a_significant_difference_share_a_rank() -> None:
    rows = rank([*seeds("a", [0.50] * 3), *seeds("b", [0.49] * 3), *seeds("c", [0.48] * 3), *seeds("low", [0.1] * 3)])
    assert rows["rank"].tolist() == [1, 1, 1, 4]


def test_one_entry_and_equal_entries_have_rank_1() -> None:
    assert rank(seeds("a", [0.5] * 3))["rank"].tolist() == [1]
    same = seeds("a", [0.5] * 3)
    rows = rank([*same, *(changed(one, method="b", submission_sha256="b" * 64) for one in same)])
    assert rows["rank"].tolist() == [1, 1] and rows["rank_high"].max() <= 2


def test_the_order_of_records_does_not_matter() -> None:
    found = [*seeds("a", [0.1, 0.2, 0.3]), *seeds("b", [0.3, 0.2, 0.2]), *seeds("random", [0.1] * 3)]
    assert rank(found).equals(rank(found[::-1]))


def test_another_weak_entry_changes_nothing_for_the_others() -> None:
    found = [*seeds("a", [0.5] * 3), *seeds("b", [0.4] * 3), *seeds("random", [0.1] * 3)]
    before, after = (rank(of).drop(columns="detectable") for of in (found, [*found, *seeds("weak", [0.05] * 3)]))
    assert after[after["method"] != "weak"].reset_index(drop=True).equals(before)


def test_a_student_that_collapsed_is_a_result() -> None:
    rows = rank([*seeds("a", [0.5, 0.5]), *(changed(one, seed=2, checks={"finite": False}) for one in seeds("a", [0.0]))])
    assert (
        rows["flags"].tolist() == ["collapsed (1 of 3 students), one set"]
        and rows["top1"][0] == pytest.approx(1 / 3)
        and rows["rank"][0] == 1
    )


@pytest.mark.parametrize("field", ["store_digest", "protocol_hash"])
def test_a_mixture_is_an_error_that_names_the_records(field: str) -> None:
    with pytest.raises(ValueError, match=rf"differ in {field}.*toy-ipc1/a@.*toy-ipc1/b@"):
        rank([*seeds("a", [0.1]), *seeds("b", [0.1], **{field: "9" * 64})])


def test_tracks_are_ranked_separately() -> None:
    rows = rank([*seeds("a", [0.1] * 3), *seeds("b", [0.9] * 3, track="soft")])
    assert rows["rank"].tolist() == [1, 1]


def test_invalid_records_are_named_and_left_out(tmp_path: Path) -> None:
    write_record(tmp_path, a_record(), GOOD)
    bad = write_record(tmp_path, a_record(seed=1), GOOD)
    bad.write_text(bad.read_text().replace('"top1": 0.5', '"top1": 0.9'))
    loaded = load([tmp_path])
    assert [one.record.seed for one in loaded.evaluated] == [0]
    assert "says top1 = 0.9; its predictions give 0.5" in loaded.refused[0]


def test_if_a_cell_is_in_two_folders_the_first_folder_counts(tmp_path: Path) -> None:
    for folder, date in (("one", "2026-01-01T00:00:00Z"), ("two", "2026-02-01T00:00:00Z")):
        write_record(tmp_path / folder, a_record(date=date), GOOD)
    assert [one.record.date for one in load([tmp_path / "one", tmp_path / "two"]).evaluated] == ["2026-01-01T00:00:00Z"]


@pytest.mark.parametrize("form", ["table", "md", "csv", "json", "latex"])
def test_every_format_shows_the_method_and_its_score(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write_record(tmp_path, a_record(seed=i), GOOD)
    show([tmp_path], None, None, form)
    text = capsys.readouterr().out
    assert "mine" in text and ("50.0" in text or "0.5" in text)
    shared = "Protocol v1, 4 test videos of 3 classes (chance: 33.3 %)."
    assert (shared in text) == (form in {"table", "md"})


def test_parquet_keeps_numbers_numbers(tmp_path: Path) -> None:
    for i in range(3):
        write_record(tmp_path, a_record(seed=i), GOOD)
    command = [
        sys.executable,
        "-c",
        "from vddbench.commands.main import main; main()",
        "rank",
        "--format",
        "parquet",
        "--division",
        "ipc",
    ]
    done = subprocess.run([*command, "--results", str(tmp_path)], capture_output=True, check=True)
    rows = pd.read_parquet(io.BytesIO(done.stdout))
    assert rows["top1"].tolist() == [0.5] and rows["rank"].tolist() == [1.0] and rows["method"].tolist() == ["mine"]


def test_latex_is_bold_in_the_first_tie_group_and_a_name_is_no_command(tmp_path: Path) -> None:
    rows = rank([*seeds("a_1", [0.5] * 3), *seeds("b", [0.495] * 3), *seeds("low", [0.1] * 3)])
    text = latex(rows.to_dict("records"))
    assert text.count(r"\textbf") == 2 and r"a\_1" in text and r"\textbf{10" not in text
    assert escaped('\\input{x} & 100 % $ \u00e9 "') == r"\textbackslash{}input\{x\} \& 100 \% \$ ? ''"
    assert escaped('"Dancing" ("a b", c) 5"') == "``Dancing'' (``a b'', c) 5''"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here")
def test_latex_compiles(tmp_path: Path) -> None:
    rows = rank([*seeds("a_1", [0.5] * 3), *seeds("low", [0.1] * 3), *seeds("lucky", [0.9])])
    page = (
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        + latex(rows.to_dict("records"))
        + "\n\\end{document}\n"
    )
    (tmp_path / "page.tex").write_text(page)
    subprocess.run(["pdflatex", "-halt-on-error", "page.tex"], cwd=tmp_path, check=True, capture_output=True, timeout=120)


def test_methods_that_wrote_the_same_bytes_keep_their_own_rows() -> None:
    """herding and k_center both take the clip nearest to the mean if a class has one."""
    rows = rank([*seeds("herding", [0.5] * 3, "ab"), *seeds("k_center", [0.5] * 3, "ab")])
    assert rows[["method", "seeds", "rank"]].to_numpy().tolist() == [["herding", 3, 1], ["k_center", 3, 1]]


def test_distillations_of_a_method_are_one_entry_and_two_payloads_of_one_seed_are_two() -> None:
    rows = rank([*seeds("dm", [0.5] * 3, "ab"), *seeds("dm", [0.3] * 3, "cd", distill_seed=1)])
    assert rows[["distillations", "seeds", "top1"]].to_numpy().tolist() == [[2, 6, pytest.approx(0.4)]]
    rows = rank([*seeds("dm", [0.5] * 3, "ab"), *seeds("dm", [0.3] * 3, "cd")])
    assert rows["distillations"].tolist() == [1, 1] and rows["rank"].tolist() == [1, 2]


def gain_and_gap(*others: Any) -> tuple[float, float]:
    records = [*seeds("random", [0.1] * 3), *seeds("full", [0.8] * 3, **FULL), *seeds("mine", [0.4] * 3)]
    rows = rank([*records, *(r for other in others for r in other)])
    mine = rows[rows["method"] == "mine"].iloc[0]
    return pytest.approx(mine["gain"]), pytest.approx(mine["gap_closed"])


@pytest.mark.parametrize(
    "intruder",
    [
        seeds("full", [0.2] * 3, "cd"),  # a budgeted submission that calls itself full
        seeds("full", [0.2] * 3, "cd", track="soft", **FULL),
        seeds("random", [0.0] * 3, "cd", track="soft"),
        seeds("random", [0.9] * 3, "cd", **FULL),
        seeds("random", [0.9], "cd", distill_seed=1),  # one seed beside a whole entry
        seeds("best", [0.9] * 3, **FULL),
    ],
)
def test_other_entries_do_not_move_the_references(intruder: list[Any]) -> None:
    assert gain_and_gap(intruder) == (0.3, 0.3 / 0.7)


def test_distillation_seeds_of_random_are_averaged() -> None:
    assert gain_and_gap(seeds("random", [0.2] * 3, "cd", distill_seed=1))[0] == 0.25


def test_references_of_few_seeds_count_if_there_are_no_others() -> None:
    rows = rank([*seeds("random", [0.1]), *seeds("random", [0.3], "cd", distill_seed=1), *seeds("mine", [0.4] * 3)])
    assert rows.set_index("method")["gain"]["mine"] == pytest.approx(0.2)


@pytest.mark.parametrize(("method", "more"), [("random", {}), ("full", FULL)])
def test_two_references_of_one_distillation_seed_are_an_error_that_names_both(method: str, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"reference '{method}'.*/{method}@abab.*/{method}@cdcd"):
        rank([*seeds(method, [0.1] * 3, "ab", **more), *seeds(method, [0.9] * 3, "cd", **more)])


def test_entries_of_the_unbudgeted_task_have_a_table_of_their_own_and_no_rank() -> None:
    rows = rank([*seeds("full", [0.8] * 3, **FULL), *seeds("best", [0.9] * 3, **FULL), *seeds("mine", [0.4] * 3)])
    assert rows.set_index("method")["rank"].dropna().to_dict() == {"mine": 1}
    shown = dict(tables(rows.to_dict("records"), "simple"))
    assert "full" in shown["toy-ipc1 · network convnet3d · hard labels · division open"]
    assert "best" not in shown["toy-ipc1 · network convnet3d · hard labels · division open"]
    assert "best" in shown["toy-full · network convnet3d"]


def test_one_seed_with_external_data_marks_its_row() -> None:
    records = seeds("a", [0.5] * 3)
    rows = rank([*records[:2], changed(records[2], external=True)])
    assert rows["flags"].tolist() == ["external, one set"]


def write_mixed(root: Path) -> None:
    """Two tables, and a third of another dataset with records of two stores."""
    for task in ("toy-ipc1", "toy-ipc5"):
        write_record(root, a_record(task=task), GOOD)
    write_record(root, a_record(task="other-ipc1", method="one"), GOOD)
    write_record(root, a_record(task="other-ipc1", method="two", store_digest="9" * 64), GOOD)


def test_a_mixture_blocks_its_own_table_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mixed(tmp_path)
    with pytest.raises(ValueError, match=r"no table of other-ipc1.*store_digest.*/one@.*/two@") as caught:
        show([tmp_path], None, None, "table")
    assert "toy" not in str(caught.value)
    text = capsys.readouterr().out
    assert "toy-ipc1 · network" in text and "toy-ipc5 · network" in text and "other-ipc1" not in text
    show([tmp_path], "toy-ipc1", None, "table")
    assert "toy-ipc1 · network" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no table of other-ipc1"):
        show([tmp_path], "other-ipc1", "convnet3d", "csv")
    assert capsys.readouterr().out == ""


def test_tasks_on_different_stores_have_their_tables_and_no_combined_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path, a_record(task="toy-ipc1"), GOOD)
    write_record(tmp_path, a_record(task="toy-ipc5", store_digest="9" * 64), GOOD)
    show([tmp_path], None, None, "table")
    shown = capsys.readouterr()
    assert "toy-ipc1 · network" in shown.out and "toy-ipc5 · network" in shown.out
    assert "no table over all tasks of network convnet3d: two records differ in store_digest" in shown.err


def test_the_reference_belongs_to_every_table_it_is_printed_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("toy-ipc1", "toy-ipc5"):
        write_record(tmp_path, a_record(task=task), GOOD)
    write_record(tmp_path, a_record(method="full", **FULL), GOOD)
    show([tmp_path], None, None, "table")
    assert capsys.readouterr().out.count("full") == 2 * 2  # tables of both divisions
    show([tmp_path], None, None, "csv")
    assert capsys.readouterr().out.count("toy-full") == 1
    write_record(tmp_path, a_record(method="full", seed=1, store_digest="9" * 64, **FULL), GOOD)
    with pytest.raises(ValueError, match=r"no table of toy-ipc5.*store_digest"):
        show([tmp_path], "toy-ipc5", None, "table")


def test_unknown_tasks_and_students_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    write_mixed(tmp_path)
    with pytest.raises(LookupError, match=r"no task named 'toy-ipc10'.*known: other-ipc1, toy-ipc1, toy-ipc5"):
        show([tmp_path], "toy-ipc10", None, "table")
    with pytest.raises(LookupError, match=r"no student named 'nosuch'.*known: convnet3d"):
        show([tmp_path], "toy-ipc1", "nosuch", "table")
    with pytest.raises(LookupError, match=r"no soft-label records of toy-ipc1; tracks with records: hard"):
        show([tmp_path], "toy-ipc1", None, "json", track="soft")


@pytest.mark.parametrize("array", ["video", "label", "group"])
def test_a_record_of_other_test_videos_is_refused_by_name(tmp_path: Path, array: str) -> None:
    """Also if it is read first."""
    odd = {"video": np.array(["x", "b", "c", "d"]), "label": np.array([0, 1, 2, 2], np.int32), "group": np.array(["z"] * 4)}
    answers = Predictions(**{**vars(GOOD), array: odd[array]})
    write_record(tmp_path, a_record(method="a", **answers.scores()), answers)
    for method in ("b", "c"):
        write_record(tmp_path, a_record(method=method, submission_sha256=method * 64), GOOD)
    loaded = load([tmp_path])
    assert [one.record.method for one in loaded.evaluated] == ["b", "c"]
    assert "a@abababab" in loaded.refused[0] and "differ from those of 2 other submissions" in loaded.refused[0]


def test_a_strangers_file_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(tmp_path, a_record(), GOOD)
    bad = tmp_path / "toy-ipc1" / "\x1b]0;mine\x07@abababab" / "convnet3d" / "seed0.json"
    bad.parent.mkdir(parents=True)
    bad.write_text("{}")
    show([tmp_path], None, None, "table")
    errors = capsys.readouterr().err
    assert "left out: record" in errors and "\x1b" not in errors and "\x07" not in errors


def test_nothing_to_rank_and_unknown_formats_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vddbench evaluate"):
        show([tmp_path], None, None, "table")
    with pytest.raises(LookupError, match="allowed: table, md, csv, json, latex, parquet"):
        show([tmp_path], None, None, "xlsx")


def test_the_interval_of_a_rank_contains_the_rank() -> None:
    """The places in the draws are not corrected for the number of entries, tie groups are: the wider of the two counts."""
    field = [one for i in range(12) for one in seeds(f"m{i}", [0.30 - 0.004 * i + 0.02 * k for k in (-1, 0, 1)])]
    rows = rank(field)
    assert (rows["rank_low"] <= rows["rank"]).all() and (rows["rank"] <= rows["rank_high"]).all()


def test_a_record_of_another_store_or_recipe_does_not_prevent_a_table() -> None:
    field = [*seeds("one", [0.3, 0.4, 0.5]), *seeds("two", [0.2, 0.3, 0.4]), *seeds("random", [0.1, 0.1, 0.1])]
    other = [changed(one, store_digest="9" * 64) for one in seeds("other", [0.9] * 5)]
    newer = [changed(one, protocol_hash="8" * 64) for one in seeds("newer", [0.9])]
    with pytest.raises(ValueError, match="differ in"):
        rank([*field, *other])
    loaded = majority([*other, *field, *newer])
    kept, lines = loaded.evaluated, loaded.refused
    assert set(rank(kept)["method"]) == {"one", "two", "random"} and len(lines) == 6
    assert "toy-ipc1/other@" in lines[0] and "its store_digest is 99999999" in lines[0]
    assert "its protocol_hash is 88888888" in lines[-1]


def test_a_re_run_by_somebody_else_is_not_ranked_even_if_its_date_is_earlier(tmp_path: Path) -> None:
    first = write_record(tmp_path / "results", a_record(), GOOD)
    again = write_record(tmp_path / "again", a_record(date="2020-01-01T00:00:00Z", by="me"), GOOD)
    root = tmp_path / "published" / "records"
    for path in (first, again):  # both as they are published
        record, _ = read_record(path)
        due = root / published_path(record, path.read_bytes())
        due.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, due)
        shutil.copy(path.with_suffix(".safetensors"), due.with_suffix(".safetensors"))
    loaded = load([root])
    assert [one.record.by for one in loaded.evaluated] == [None] and [one.record.by for one in loaded.reruns] == ["me"]


def test_payloads_whose_hashes_begin_alike_have_separate_cells(tmp_path: Path) -> None:
    for sha in ("ab" * 32, "ab" * 4 + "0" * 56):
        record = a_record(submission_sha256=sha)
        path = write_record(tmp_path / sha[8:10], record, GOOD)
        due = tmp_path / "records" / published_path(record, path.read_bytes())
        due.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, due)
        shutil.copy(path.with_suffix(".safetensors"), due.with_suffix(".safetensors"))
    assert len(load([tmp_path / "records"]).evaluated) == 2


def test_many_records_of_one_set_do_not_outvote_several_sets(tmp_path: Path) -> None:
    for sha in ("1a", "2b"):
        write_record(tmp_path, a_record(submission_sha256=sha * 32), GOOD)
    other = Predictions(**{**vars(GOOD), "video": np.array(["w", "x", "y", "z"])})
    for seed in range(5):
        write_record(tmp_path, a_record(submission_sha256="3c" * 32, seed=seed), other)
    loaded = load([tmp_path])
    assert len(loaded.evaluated) == 2 and len(loaded.refused) == 5


def test_no_share_is_given_of_a_gap_that_is_not_significant() -> None:
    def table(full: float) -> pd.DataFrame:
        scores = [full - 0.01, full, full + 0.01]
        return rank([*seeds("random", [0.1, 0.12, 0.14]), *seeds("better", [0.3, 0.3, 0.3]), *seeds("full", scores, **FULL)])

    assert table(0.8).set_index("method")["gap_closed"]["better"] == pytest.approx(0.18 / 0.68)
    rows = table(0.13).set_index("method")
    assert np.isnan(rows["gap_closed"]["better"]) and rows["gain"]["better"] == pytest.approx(0.18)


def test_a_board_leaves_out_the_later_payload_of_a_reference_and_unknown_students() -> None:
    field = [*seeds("random", [0.1, 0.1, 0.1]), *seeds("one", [0.3, 0.4, 0.5])]
    late = [changed(one, date="2027-01-01T00:00:00Z") for one in seeds("random", [0.5, 0.5, 0.5], sha="77")]
    strange = seeds("two", [0.9, 0.9, 0.9], student="nobody")
    loaded = majority([*late, *strange, *field])
    kept, lines = loaded.evaluated, loaded.refused
    assert rank(kept)["method"].tolist() == ["one", "random"] and len(lines) == 6
    assert any("there is no network nobody" in line for line in lines)
    assert any("another payload is the reference" in line for line in lines)


def test_a_student_that_answers_one_class_for_every_video_is_flagged(tmp_path: Path) -> None:
    """Its interval may have no width: if every scene contains every class, it is right on the same share of each."""
    same = Predictions(**{**vars(GOOD), "top5": np.array([[0, 1, 2]] * 4, np.int32)})
    write_record(tmp_path, a_record(method="same", **same.scores()), same)
    write_record(tmp_path, a_record(), GOOD)
    flags = rank(load([tmp_path]).evaluated).set_index("method")["flags"]
    assert "one answer for all" in flags["same"] and "one answer" not in flags["mine"]
