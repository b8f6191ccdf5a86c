"""Every mark of an entry is in every format."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tests.builders.records import a_record, rank, seeds
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.entry import Entry
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.latex import latex
from vddbench.leaderboard.marks import BY_NAME, MARKS, legend, marked, marks_in
from vddbench.leaderboard.publish.parquet import column, native
from vddbench.leaderboard.tables import print_rows, tables

ALL = ", ".join(f"{mark.name} (2 of 3 students)" for mark in MARKS)


def entry(evaluated: Sequence[Evaluated]) -> Entry:
    [one] = entries(evaluated)
    return one


def changed(**fields: Any) -> list[Evaluated]:
    """Three students of one set; the fields are those of the last one's record."""
    one, two, three = seeds("mine", [0.5] * 3)
    return [one, two, replace(three, record=three.record.model_copy(update=fields))]


@pytest.mark.parametrize(
    ("evaluated", "text"),
    [
        (changed(), ""),
        (changed(external=True), "external"),
        (changed(num_missing=12), "videos missing (12)"),
        (changed(checks={"finite": False}), "collapsed (1 of 3 students)"),
        (changed(checks={"finite": False}, num_missing=1), "collapsed (1 of 3 students), videos missing (1)"),
        (changed(fit_top1=0.94), "did not fit its own set (1 of 3 students)"),
        (changed(fit_top1=0.95), ""),
        (
            [replace(one, record=one.record.model_copy(update={"trained_on": "frozen"})) for one in changed()],
            "trained without motion (frozen frames)",
        ),
        (changed(suspect_clips=3, compared_clips=8), "looks like test videos (3 of 8 clips)"),
        (changed(suspect_clips=0, compared_clips=8), ""),
        ([replace(one, answers=1) for one in changed()], "one answer for all (3 of 3 students)"),
        (changed()[:2], "under 3 students"),
    ],
)
def test_marks_follow_from_the_records_of_an_entry(evaluated: list[Evaluated], text: str) -> None:
    assert marked(entry(evaluated)) == ", ".join(filter(None, [text, "one set"]))


def test_names_and_signs_are_unique_and_names_can_be_told_from_details() -> None:
    assert len(BY_NAME) == len({mark.sign for mark in MARKS}) == len(MARKS)
    for mark in MARKS:
        assert not set(mark.name) & set(",()") and mark.sign.isalpha() and mark.sentence.endswith(".")
    assert [mark for mark, _ in marks_in(ALL)] == legend([ALL]) == list(MARKS) and legend(["", ""]) == []


@pytest.mark.parametrize("form", ["table", "md", "csv", "json", "latex", "parquet"])
def test_every_format_shows_every_mark(form: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rows = rank([*seeds("mine", [0.5] * 3), *seeds("other", [0.4] * 3)]).to_dict("records")
    rows[0] = {**rows[0], "flags": ALL}
    print_rows(rows, form, {})
    data = capsysbinary.readouterr().out
    if form == "parquet":
        assert pd.read_parquet(io.BytesIO(data))["flags"].tolist() == [ALL, "one set"]
        return
    text = data.decode()
    if form == "json":
        assert json.loads(text)[0]["flags"] == ALL
    of_row = next(line for line in text.splitlines() if "mine" in line and "may be the best" not in line)
    for mark in MARKS:
        assert form == "json" or mark.name in of_row
        assert form in {"csv", "json"} or mark.sentence.replace("%", r"\%" if form == "latex" else "%") in text


def test_latex_has_titles_superscripts_rank_intervals_spreads_and_the_number_of_distillations() -> None:
    two_sets = [*seeds("mine", [0.4, 0.5, 0.6], title="DM+SDD"), *seeds("mine", [0.5] * 3, "cd", distill_seed=1)]
    rows = rank([*two_sets, *seeds("other_1", [0.49] * 3)]).to_dict("records")
    rows[0] = {**rows[0], "flags": "external, videos missing (12)"}
    text = latex(rows)
    assert r"DM+SDD$^{\mathrm{e,m}}$" in text and "% mine: external, videos missing (12)" in text and r"other\_1$^" in text
    assert "6 claimed on 2" in text and "1 (1--2) &" in text and "& 7.1, 0.0 &" in text
    assert r"$^{\mathrm{e}}$\,external: " in text and "collapsed" not in text


def test_a_title_is_beside_the_identifier_and_cannot_be_markup() -> None:
    [table] = tables(rank(seeds("mine", [0.5] * 3, title="DM+SDD")).to_dict("records"), "github", divisions=["open"])
    assert "DM+SDD (mine)" in table.text
    for title in ("", " DM", "[a](b)", "www.evil.com", "https://x", "a|b", "<b>", "\u202eabc", "a\nb", "x" * 61, "$x$", "`a`"):
        with pytest.raises(ValidationError):
            a_record(title=title)


def test_spreads_by_hand() -> None:
    [row] = rank([*seeds("mine", [0.4, 0.6]), *seeds("mine", [0.4, 0.8], "cd", distill_seed=1)]).to_dict("records")
    assert row["std_students"] == pytest.approx(((0.02 + 0.08) / 2) ** 0.5)
    assert row["std_distillations"] == pytest.approx(0.1 / 2**0.5)
    assert np.isnan(rank(seeds("mine", [0.4]))["std_students"][0])


def test_published_tables_have_marks_as_a_list() -> None:
    rows = rank(seeds("mine", [0.5] * 3))
    rows["flags"] = ALL
    [row] = rows.to_dict("records")
    assert native(row)["flags"] == ALL.split(", ") and str(column("flags")[1]) == "list<item: string>"
