"""The sentences above a table, and the columns with the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.builders.records import seeds
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.headline import headline
from vddbench.leaderboard.rank import rank, ranked_rows
from vddbench.leaderboard.site.chart_file import write_chart
from vddbench.leaderboard.tables import tables
from vddbench.spec import DIVISIONS


def open_table(records: list[Evaluated]) -> pd.DataFrame:
    rows = rank(records)
    return rows[rows["division"] == "open"].reset_index(drop=True)


def test_a_table_says_who_may_be_the_best_its_corrected_score_and_what_can_be_detected() -> None:
    rows = open_table([*seeds("a", [0.50, 0.52, 0.54]), *seeds("b", [0.49, 0.52, 0.54]), *seeds("low", [0.1, 0.12, 0.11])])
    text = headline(rows.to_dict("records"), with_curve=True)
    assert text.startswith("2 of 3 entries may be the best set with 95 % confidence: a, b. The best score, 52.0 %, is 5")
    assert "once corrected for having been selected as the best. With 3 students of each set" in text
    assert text.count("No codec curve") == 1 and "No codec curve" not in headline(rows.to_dict("records"), with_curve=False)
    first, *others = rows.to_dict("records")
    assert first["corrected_low"] <= first["corrected"] < first["top1"] <= first["corrected_high"]
    assert all(np.isnan(row["corrected"]) for row in others) and rows["detectable"].nunique() == 1


def test_students_of_several_sets_are_not_counted_as_those_of_one() -> None:
    of_sets = [[*seeds(m, [0.5, 0.52, 0.54]), *seeds(m, [0.3, 0.32, 0.34], f"{m}2", distill_seed=1)] for m in ("ab", "cd")]
    rows = open_table([one for of_method in of_sets for one in of_method])
    alone = open_table([one for of_method in of_sets for one in of_method[:3]])
    assert rows["seeds"].tolist() == [6, 6] and rows["detectable"][0] == pytest.approx(alone["detectable"][0], rel=0.25)
    text = headline(rows.to_dict("records"), with_curve=False)
    assert "With 3 students of each set, differences of" in text and "between two sets are detected" in text


def test_one_entry_is_not_selected_and_a_table_without_ranks_has_no_headline() -> None:
    rows = open_table(seeds("a", [0.50, 0.52, 0.54]))
    assert rows["corrected"][0] == pytest.approx(rows["top1"][0]) and headline(rows.to_dict("records"), with_curve=False) == ""
    assert headline(open_table(seeds("a", [0.5])).to_dict("records"), with_curve=True) == ""


def test_a_table_explains_an_entry_of_rank_1_that_is_not_among_the_best() -> None:
    rows = open_table([*seeds("a", [0.50, 0.52, 0.54]), *seeds("b", [0.49, 0.52, 0.54])]).to_dict("records")
    for may_be_best, is_explained in ((True, False), (False, True)):
        rows[1]["may_be_best"] = may_be_best
        [shown] = [table.text for table in tables(rows, "simple") if "· division open" in table.title]
        for text in (shown, headline(rows, with_curve=True)):  # the latter is also of the board and of docs/baselines.md
            assert ("Rank 1 is shared with 1 more: ranks compare all pairs" in text) == is_explained


def test_many_methods_are_counted_and_a_few_named() -> None:
    rows = open_table([one for i in range(11) for one in seeds(f"m{i}", [0.3, 0.32, 0.34])])
    text = headline(rows.to_dict("records"), with_curve=False)
    assert text.startswith("11 of 11 entries may be the best set") and "and 3 more." in text


CODEC = {"random_video": (1_000_000, 0.6), "random_video_tenth": (100_000, 0.4), "random_video_hundredth": (10_000, 0.2)}


def codec_records() -> list[Evaluated]:
    """Three sizes of the codec baseline, which decode to more clips than division `ipc` allows."""
    sized = {"budget_bytes": 1_000_000, "clips_per_class": 50}
    return [
        one
        for i, (method, (size, score)) in enumerate(CODEC.items())
        for one in seeds(method, [score - 0.01, score, score + 0.01], f"c{i}", payload_bytes=size, **sized)
    ]


def test_division_open_compares_methods_with_the_codec_curve_and_division_ipc_does_not() -> None:
    rows = rank([*codec_records(), *seeds("mine", [0.5, 0.52, 0.54], payload_bytes=50_000, budget_bytes=1_000_000)])
    by_division = {str(name): part.set_index("method") for name, part in rows.groupby("division")}
    assert by_division["open"]["over_codec_low"]["mine"] > 0 and by_division["open"]["pareto"]["mine"]
    assert by_division["open"].loc[list(CODEC), "over_codec"].isna().all()
    assert by_division["ipc"].index.tolist() == ["mine"] and np.isnan(by_division["ipc"]["pareto_probability"]["mine"])
    text = dict(tables(rows.to_dict("records"), "simple"))
    [of_open] = [text[title] for title in text if "division open" in title]
    assert "1 of 1 methods lies above what AV1 gives at their bytes." in of_open and "yes (100 %)" in of_open
    assert all("AV1" not in text[title] for title in text if "division ipc" in title)


def test_a_chart_needs_one_table_and_a_known_ending(tmp_path: Path) -> None:
    records = [*seeds("mine", [0.5, 0.52, 0.54]), *seeds("mine", [0.5, 0.5, 0.5], track="soft")]
    with pytest.raises(LookupError, match=r"must end in .png or .svg"):
        write_chart(ranked_rows(records), records, DIVISIONS, tmp_path / "chart.pdf")
    with pytest.raises(LookupError, match=r"2 are chosen .*soft labels.*--track"):
        write_chart(ranked_rows(records), records, DIVISIONS, tmp_path / "two.svg")


@pytest.mark.long
def test_a_chart_is_written_as_svg_and_as_png(tmp_path: Path) -> None:
    records = [*codec_records(), *seeds("mine", [0.5, 0.52, 0.54], payload_bytes=50_000, budget_bytes=1_000_000)]
    write_chart(ranked_rows(records), records, DIVISIONS, tmp_path / "chart.svg")
    text = (tmp_path / "chart.svg").read_text()
    assert "division open" in text and "AV1" in text and "var(--" not in text and "href" not in text
    write_chart(ranked_rows(records), records, ("ipc",), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
