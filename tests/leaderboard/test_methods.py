"""`vddbench methods` says what the files, the records and the CSVs say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from vddbench.leaderboard import methods, methods_text, reported
from vddbench.leaderboard.evidence import load
from vddbench.leaderboard.rank import rank
from vddbench.leaderboard.table_records import tables_of
from vddbench.lookup import PLUGINS, names

RECORDS = Path(__file__).parents[2] / "leaderboard" / "results"


def test_every_baseline_and_every_preset_is_listed_once() -> None:
    listed = [name for one in methods.methods() for name in one.names]
    assert sorted(listed) == sorted(set(listed)) and set(names("baseline")) <= set(listed) and "dm_fast" in listed


@pytest.mark.parametrize("method", ["dm_sdd", "mtt_sdd"])
def test_static_dynamic_has_an_entry_in_each_division(method: str) -> None:
    division = {preset: one.division for one in methods.variants(method) for preset in one.presets}
    assert division == {"": "open", "fast": "open", "smoke": "open", "1x1": "ipc", "fast_1x1": "ipc"}


def test_a_method_without_a_baseline_has_a_reason_and_no_file() -> None:
    rows = methods.without_code()
    assert {"kip", "glad", "cafe", "haba", "tesla"} <= {row["method"] for row in rows}
    assert not {row["method"] for row in rows} & set(names("baseline"))
    assert all(row["paper"].startswith("https://") and row["reason"].endswith(".") for row in rows)


def test_json_has_the_scores_of_the_records_and_the_numbers_of_the_papers() -> None:
    records = load([RECORDS]).evaluated
    output = json.loads(methods_text.as_json(methods.methods(), methods.measured(records)))
    [dm] = [one for one in output["methods"] if one["method"] == "dm" and "" in one["presets"]]
    assert (dm["family"], dm["decoder"], dm["division"], dm["labels"]) == ("distribution matching", "pixels", "ipc", "hard")
    papers = pd.read_csv(reported.FILE)
    assert len(dm["published"]) == (papers["method"] == "dm").sum() and "caveat" not in dm["published"][1]
    table = tables_of(records, "movingshapes-ipc1", "convnet3d")
    ranked = rank(table[0])
    [random] = [one for one in output["methods"] if one["method"] == "random"]
    [ours] = [score for score in random["ours"] if score["task"] == "movingshapes-ipc1" and score["student"] == "convnet3d"]
    of_random = ranked[(ranked["method"] == "random") & (ranked["division"] == "ipc")]
    assert ours["top1"] == pytest.approx(of_random["top1"].item())


def score(method: str, task: str, top1: float) -> methods.Measured:
    return methods.Measured(
        method=method, task=task, student="convnet3d", track="hard", top1=top1, students=10, distillations=2,
        protocol="v3", device="a CPU",
    )  # fmt: skip


SCORES = [score("dm_fast", "a-ipc1", 0.28), score("random", "a-ipc1", 0.11), score("dm_fast", "b-ipc1", 0.5)]


def test_the_table_compares_on_the_task_that_most_methods_have_or_on_another() -> None:
    most = methods_text.as_table(methods.methods(), SCORES, None, "simple")
    assert "fast 28.0 (10 on 2)" in most and "50.0" not in most and "on a-ipc1, network convnet3d, protocol v3, a CPU" in most
    assert re.findall(r"^rded +(.+?)  ", most, re.M) == ["(none), mosaic, fast, smoke", "soft"]
    with pytest.raises(LookupError, match=r"^no record of a baseline on c-ipc1; tasks with records: a-ipc1, b-ipc1$"):
        methods_text.as_table(methods.methods(), SCORES, "c-ipc1", "simple")
    other = methods_text.as_table(methods.methods(), SCORES, "b-ipc1", "simple")
    assert "fast 50.0 (10 on 2)" in other and "28.0" not in other and "image generator" in other


def test_a_published_number_with_a_caveat_has_a_mark_and_the_caveat_below_the_table() -> None:
    """FRePo's number is one of learned labels, and the labels of `frepo` are fixed."""
    lines = methods_text.as_table(methods.methods(), [], None, "github").splitlines()
    [frepo] = [line for line in lines if line.startswith("| frepo ")]
    assert "| hard " in frepo and "| 20.3 +- 0.5 * " in frepo and "* frepo: own optimiser and learned labels" in lines
    [mtt] = [line for line in lines if line.startswith("| mtt ")]
    assert "| 19.0 +- 0.1  " in mtt  # its row has no caveat


def test_one_method_shows_its_settings_sources_and_scores() -> None:
    text = methods_text.as_text("dm_fast", SCORES)
    assert "--preset fast changes: iterations=120" in text and "--preset smoke" not in text
    assert "28.0 % by dm_fast on a-ipc1" in text and "50.0 % by dm_fast on b-ipc1" in text and "11.0" not in text
    assert "15.3 +- 1.1 % on miniucf-ipc1" in text and "best mean test accuracy of 11 checkpoints" in text
    assert "reads" not in text and "reads experts besides train clips" in methods_text.as_text("mtt", [])
    assert "--preset smoke changes" in methods_text.as_text("dm", []) and "image generator" in methods_text.as_text("glad", [])


def test_a_plug_in_without_facts_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "baselines").mkdir()
    lines = ["from dataclasses import dataclass", "DECODER, PAPER = 'pixels', ''", "@dataclass", "class Config: pass"]
    (tmp_path / "baselines" / "own_method.py").write_text("\n".join([*lines, "def distill(): pass"]))
    monkeypatch.setenv(PLUGINS, str(tmp_path))
    [one] = methods.variants("own_method")
    assert (one.family, one.division, one.names) == ("", "", ["own_method"])
    assert "own_method" in methods_text.as_table([one], [], None, "simple")
