"""Tables say what the records bear out, and never compare what can't be compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaderboard.rank import half_width, load, rank
from leaderboard.tables import show
from tests.test_records import GOOD, a_record
from vddbench.records import write_record


def seeds(method: str, scores: list[float], **more: Any) -> list[Any]:
    sha = (method.encode().hex() * 64)[:64]
    return [a_record(method=method, submission_sha256=sha, seed=i, top1=s, **more) for i, s in enumerate(scores)]


def test_interval_is_students_t_over_seeds() -> None:
    scores = np.array([0.1, 0.2, 0.3])
    assert half_width(scores) == pytest.approx(4.303 * 0.1 / np.sqrt(3), rel=1e-3)  # t of 2 degrees of freedom
    assert np.isnan(half_width(np.array([0.1])))
    assert half_width(np.arange(100) / 100) == pytest.approx(1.96 * np.arange(100).std(ddof=1) / 100 / 10, rel=1e-3)


def test_golden_table() -> None:
    records = [
        *seeds("random", [0.10, 0.12, 0.14]),
        *seeds("better", [0.30, 0.32, 0.34], payload_bytes=5),
        *seeds("lucky", [0.90]),
        *seeds("full", [0.8, 0.8, 0.8], task="toy-full", budget_bytes=None),
    ]
    rows = rank(records)
    table = rows[rows["task"] == "toy-ipc1"].set_index("method")
    assert table["rank"].dropna().to_dict() == {"better": 1, "random": 2}
    assert table["gain"]["better"] == pytest.approx(0.20)
    assert table["recovery"]["better"] == pytest.approx(0.40)
    assert table["budget_share"]["better"] == 0.5
    assert table["flags"]["lucky"] == "under 3 seeds"  # shown, marked, not ranked
    assert rows[rows["method"] == "full"]["rank"].isna().all()


def test_equal_scores_share_a_rank_and_go_by_bytes() -> None:
    rows = rank(
        [*seeds("heavy", [0.5] * 3, payload_bytes=9), *seeds("light", [0.5] * 3, payload_bytes=3), *seeds("low", [0.1] * 3)]
    )
    assert rows["method"].tolist() == ["light", "heavy", "low"]
    assert rows["rank"].tolist() == [1, 1, 3]


def test_the_order_of_records_does_not_matter() -> None:
    records = [*seeds("a", [0.1, 0.2, 0.3]), *seeds("b", [0.3, 0.2, 0.2]), *seeds("random", [0.1] * 3)]
    assert rank(records).equals(rank(records[::-1]))


@pytest.mark.parametrize("field", ["store_digest", "protocol_hash"])
def test_a_mixture_is_an_error_that_names_the_records(field: str) -> None:
    with pytest.raises(ValueError, match=rf"differ in {field}.*toy-ipc1/a@.*toy-ipc1/b@"):
        rank([*seeds("a", [0.1]), *seeds("b", [0.1], **{field: "9" * 64})])


def test_tracks_are_ranked_apart() -> None:
    rows = rank([*seeds("a", [0.1] * 3), *seeds("b", [0.9] * 3, track="soft")])
    assert rows["rank"].tolist() == [1, 1]


def test_records_that_lie_are_left_out_and_named(tmp_path: Path) -> None:
    write_record(tmp_path, a_record(), GOOD)
    bad = write_record(tmp_path, a_record(seed=1), GOOD)
    bad.write_text(bad.read_text().replace('"top1": 0.5', '"top1": 0.9'))
    loaded = load([tmp_path])
    assert [r.seed for r in loaded.records] == [0]
    assert "says top1 = 0.9; its predictions give 0.5" in loaded.refused[0]


def test_of_a_cell_in_two_folders_the_first_counts(tmp_path: Path) -> None:
    for folder, date in (("one", "2026-01-01T00:00:00Z"), ("two", "2026-02-01T00:00:00Z")):
        write_record(tmp_path / folder, a_record(date=date), GOOD)
    assert [r.date for r in load([tmp_path / "one", tmp_path / "two"]).records] == ["2026-01-01T00:00:00Z"]


@pytest.mark.parametrize("form", ["table", "md", "csv", "json"])
def test_every_format_shows_the_method_and_its_score(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write_record(tmp_path, a_record(seed=i), GOOD)
    show([tmp_path], None, None, form)
    text = capsys.readouterr().out
    assert "mine" in text and ("50.0" in text or "0.5" in text)


def test_nothing_to_rank_and_unknown_formats_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vddbench evaluate"):
        show([tmp_path], None, None, "table")
    with pytest.raises(LookupError, match="allowed: table, md, csv, json"):
        show([tmp_path], None, None, "xlsx")


def test_ranking_needs_no_torch() -> None:
    code = "import sys, leaderboard.rank, leaderboard.tables; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
