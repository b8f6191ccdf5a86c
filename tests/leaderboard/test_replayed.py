"""Records of protocol sdd have tables of their own: never ranked, and compared with published tables only where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vddbench
from tests.builders.records import GOOD, a_record
from vddbench.leaderboard import evidence, reported
from vddbench.leaderboard.tables import show
from vddbench.records.files import path_of, read_record, write_record
from vddbench.records.predictions import Predictions

TASK = "miniucf-ipc1"
LATER = np.array([[[0, 1, 2], [0, 1, 2]], [[1, 2, 0], [0, 1, 2]], [[2, 1, 0], [0, 1, 2]], [[0, 1, 2], [1, 0, 2]]], np.int32)
REPLAYED = replace(GOOD, later_top5=LATER)


def written(root: Path, method: str, protocol: str, seeds: Sequence[int] = (0, 1, 2), task: str = TASK, **more: object) -> None:
    """Records with the same answers: 50 % under v3, and 50, 100 and 25 % in the passes of sdd."""
    answers: Predictions = REPLAYED if protocol == "sdd" else GOOD
    epochs = {"epochs": 500, "protocol_hash": "5" * 64} if protocol == "sdd" else {}
    for seed in seeds:
        fields = {**answers.scores(), **epochs, "method": method, "seed": seed, "protocol": protocol, "task": task, **more}
        write_record(root, a_record(submission_sha256=(method.encode().hex() * 64)[:64], **fields), answers)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(evidence, "contradiction", lambda record, dataset: None)  # the four videos are not those of MiniUCF
    return tmp_path


def test_a_score_of_several_passes_must_follow_from_their_answers(root: Path) -> None:
    written(root, "dm", "sdd", [0])
    (path,) = root.rglob("*.json")
    record, answers = read_record(path)
    assert path == root / TASK / f"dm@{'646d' * 2}" / "convnet3d-sdd" / "seed0.json" == path_of(root, record)
    assert record.top1 == pytest.approx((0.5 + 1.0 + 0.25) / 3) and np.array_equal(answers.answers[:, 1:], LATER)
    for lie in ({"top1": 0.5}, {"protocol": "v3"}):
        with pytest.raises(ValueError, match=r"top1 = 0.5|several passes"):
            write_record(root / "lies", record.model_copy(update=lie), answers)
    with pytest.raises(ValueError, match="several passes"):
        write_record(root / "lies", record.model_copy(update=GOOD.scores()), GOOD)


def test_replayed_records_are_never_ranked_with_others(root: Path) -> None:
    for protocol in ("v3", "sdd"):
        written(root, "dm", protocol)
    loaded = evidence.load([root])
    assert [one.record.protocol for one in loaded.evaluated] == ["v3"] * 3 and len(loaded.replayed) == 3
    assert vddbench.rank(root)["seeds"].unique().tolist() == [3]
    assert vddbench.load_records(root)["protocol"].value_counts().to_dict() == {"v3": 3, "sdd": 3}


def test_papers_replays_and_ranked_scores_stand_side_by_side_where_asked(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(root, "dm", "v3")
    written(root, "dm", "sdd")
    written(root, "fewer", "sdd", epochs=20, protocol_hash="6" * 64)
    written(root, "mine", "sdd", student="convnet_gru")
    show([root], None, None, "md", papers=True)
    output = capsys.readouterr().out
    ranked, _, rest = output.partition("protocol sdd of released code, replayed: not ranked")
    assert "fewer" not in ranked
    (paper,) = (row for row in reported.reported(vddbench.Task.parse(TASK)) if row.method == "dm")
    (line,) = (line for line in rest.splitlines() if line.startswith("| dm ") and "| 500" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["dm", "58.3", "0.0", "3", "500", f"{paper.top1_mean} ± {paper.top1_std}", "50.0"]
    (line,) = (line for line in rest.splitlines() if line.startswith("| fewer "))
    assert [cell.strip() for cell in line.strip("|").split("|")][-2:] == ["-", "-"]
    show([root], None, None, "md")
    assert "papers print" not in capsys.readouterr().out
    show([root], None, None, "csv")
    assert "fewer" not in capsys.readouterr().out


def test_a_folder_of_replays_alone_is_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(root, "dm", "sdd")
    show([root], None, None, "table")
    assert "58.3" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="no valid records"):
        show([root], "miniucf-ipc5", None, "table")
    for form in ("csv", "json", "latex", "parquet"):
        with pytest.raises(LookupError, match=r"all records in .* are of protocol sdd.* --format table and --format md show"):
            show([root], None, None, form, papers=True)


@pytest.mark.parametrize(("task", "student"), [("miniucf-ipc5", None), (None, "convnet_gru")])
def test_a_task_or_a_network_that_only_replays_have_is_shown_beside_ranked_records_of_others(
    task: str | None, student: str | None, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(root, "dm", "v3")
    written(root, "mtt", "sdd", task="miniucf-ipc5", student="convnet_gru")
    show([root], task, student, "table", papers=True)
    output = capsys.readouterr().out
    assert "miniucf-ipc5 · network convnet_gru · hard labels · protocol sdd" in output and "division" not in output
    with pytest.raises(LookupError, match=f"all records of {task or student} in .* are of protocol sdd"):
        show([root], task, student, "csv")
    with pytest.raises(LookupError, match="no task named 'miniucf-ipc10'"):
        show([root], "miniucf-ipc10", None, "table")
    with pytest.raises(LookupError, match="--chart draws one table, and 0 are chosen"):
        show([root], task, student, "table", chart=root / "chart.png")


def test_ranked_records_that_cannot_share_a_table_do_not_hide_replays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(root, "dm", "v3")
    written(root, "mtt", "v3", store_digest="3" * 64)
    written(root, "dm", "sdd")
    with pytest.raises(ValueError, match="differ in store_digest"):
        show([root], None, None, "table")
    assert "58.3" in capsys.readouterr().out


def test_replays_on_different_prepared_stores_never_share_a_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"store_digest": "3" * 64}
    written(root, "dm", "sdd")
    written(root, "dm", "v3", **other)
    show([root], None, None, "md", papers=True)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| dm ") and "| 500" in line)
    assert line.split("|")[-2].strip() == "-"  # the ranked score is of other data
    written(root, "dm", "sdd", [3, 4], **other)
    written(root, "dm", "sdd", task="miniucf-ipc5")
    for task in (None, TASK):  # with and without ranked records of the task
        with pytest.raises(ValueError, match=rf"no table of {TASK}, network convnet3d, protocol sdd.* differ in store_digest"):
            show([root], task, None, "table")
    output = capsys.readouterr().out
    assert "58.3" in output and f"{TASK} · network convnet3d · hard labels · protocol sdd" not in output


def test_papers_on_hmdb51_stand_beside_replays_on_both_of_its_splits(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for dataset in ("hmdb51", "hmdb51_sdd"):
        written(root, "dm", "sdd", task=f"{dataset}-ipc5")
    show([root], None, None, "md", papers=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| dm ") and "| 500" in line]
    assert [line.split("|")[-3].strip() for line in lines] == ["8.0 ± 0.2"] * 2
