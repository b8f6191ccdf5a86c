"""What papers report is shown with its source and never ranked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.builders.records import GOOD, a_record
from vddbench.leaderboard import evidence
from vddbench.leaderboard.reported import read, reported
from vddbench.leaderboard.tables import show
from vddbench.lookup import names
from vddbench.records.files import write_record
from vddbench.spec import Task


def test_every_reported_number_has_a_source_and_is_a_percentage() -> None:
    rows = read()
    assert len(rows) > 40 and all(row.source and re.fullmatch(r"https://[\w./?=%+]+", row.url) for row in rows)
    assert all(row.year is None or 2023 <= row.year <= 2030 for row in rows)
    assert {row.student for row in rows} - {None} <= set(names("student"))
    assert all(row.top1_mean is None or 1 <= row.top1_mean <= 100 for row in rows)


def test_numbers_of_a_task_come_with_those_of_full() -> None:
    rows = reported(Task.parse("miniucf-ipc1"))
    numbers = {row.method: row.top1_mean for row in rows}
    assert (numbers["full"], numbers["dm"], numbers["mtt_sdd"]) == (57.22, 15.3, 23.3)
    assert rows[0].method == "full" and reported(Task.parse("toy-ipc1")) == []


def test_they_need_no_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show([tmp_path / "none"], "miniucf-ipc1", None, "table", papers=True)
    text = capsys.readouterr().out
    assert "mtt_sdd" in text and "\nMB: as the source states it" in text and text.count("arxiv.org/abs/2505.22564") == 1
    assert set(re.findall(r" (\[\d\]) ", text)) == set(re.findall(r"^(\[\d\]) .+; https://", text, re.M)) != set()
    show([tmp_path / "none"], None, None, "md", papers=True)
    output = capsys.readouterr()
    assert "miniucf-ipc5 as papers report it" in output.out
    assert re.search(r"no valid records in .*; the bundled records: --results \S*leaderboard/results$", output.err.strip())
    for form, papers in (("table", False), ("csv", True)):
        with pytest.raises(FileNotFoundError, match="no valid records"):
            show([tmp_path / "none"], None, None, form, papers=papers)
    with pytest.raises(LookupError, match="no task with reported numbers named 'toy-ipc1'"):
        show([tmp_path / "none"], "toy-ipc1", None, "table", papers=True)


def test_they_are_printed_below_the_measured_rows_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evidence, "contradiction", lambda record, dataset: None)  # four videos stand for those of miniucf
    for i in range(3):
        write_record(tmp_path, a_record(task="miniucf-ipc1", seed=i), GOOD)
    show([tmp_path], None, None, "table")
    assert "2312.00362" not in capsys.readouterr().out
    show([tmp_path], None, None, "table", papers=True)
    measured, _, papers = capsys.readouterr().out.partition("as papers report it")
    assert "mine" in measured and "mtt_sdd" not in measured and "mtt_sdd" in papers and "not ranked" in papers
