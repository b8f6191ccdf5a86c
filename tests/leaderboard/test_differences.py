"""`diff` reports the difference of two methods by class and what else differs, from records and manifests alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.builders.records import GOOD, a_record
from tests.builders.submissions import LABELS, clips, edit_manifest, written
from vddbench.leaderboard.differences import differing, show
from vddbench.leaderboard.paired import pairs
from vddbench.records.files import write_record
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record
from vddbench.submissions.manifest import read_manifest

CLASSES, OF_CLASS = 3, 20


def evaluated(root: Path, right: tuple[int, int, int], method: str, sha: str, **more: object) -> None:
    """Three students that get so many of the 20 videos of each class right, give or take one."""
    label = np.repeat(np.arange(CLASSES, dtype=np.int32), OF_CLASS)
    n = len(label)
    for seed in range(3):
        hits = np.concatenate([np.arange(OF_CLASS) < count - seed % 2 for count in right])
        others = (label[:, None] + [1, 2]) % CLASSES
        top5 = np.where(hits[:, None], np.c_[label, others], np.c_[others, label]).astype(np.int32)
        fields = {**vars(GOOD), "video": np.array([f"v{i}" for i in range(n)]), "group": np.full(n, ""), "label": label}
        fields |= {"top5": top5, "true_probability": np.full(n, 0.5, np.float32), "centre_top1": label}
        record: Record = a_record(
            method=method, submission_sha256=sha, seed=seed, num_test=n, top1=float(hits.mean()), centre_top1=1.0,
            task="tiny-ipc1", num_classes=CLASSES, **more,
        )  # fmt: skip
        write_record(root, record, Predictions(**fields))


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """`sharp` and `plain`, evaluated and submitted: they differ on class 2 alone."""
    sharp = written(tmp_path / "submissions", method="sharp")
    plain = written(tmp_path / "submissions", {"clips": clips(seed=1), "labels": LABELS}, method="plain")
    edit_manifest(sharp, config={"lr": 0.1, "steps": 5})
    edit_manifest(plain, config={"steps": 5})
    evaluated(tmp_path / "results", (10, 10, 18), "sharp", read_manifest(sharp).sha256, payload_bytes=9)
    evaluated(tmp_path / "results", (10, 10, 4), "plain", read_manifest(plain).sha256)
    return tmp_path


def test_the_classes_that_differ_most_come_first(two: Path) -> None:
    [pair] = pairs([two / "results"], "sharp", "plain")
    table = pair.per_class()
    assert table["label"].tolist() == [2, 0, 1] and table["videos"].tolist() == [20, 20, 20]
    assert table["top1"].tolist() == pytest.approx([14 / 20, 0, 0])
    assert table["low"][0] > 0.3 and table["low"][1] <= 0 <= table["high"][1]
    assert float((table["top1"] * table["videos"]).sum() / 60) == pytest.approx(pair.difference().top1)


def test_only_values_that_differ_are_reported(two: Path) -> None:
    [pair] = pairs([two / "results"], "sharp", "plain")
    found = differing(pair, two / "submissions")
    assert found["payload_bytes"] == ("9", "10") and found["config lr"] == ("0.1", "-")
    assert "config steps" not in found and "device" not in found and "decoder" not in found


def test_the_manifest_of_another_payload_is_not_used(two: Path) -> None:
    edit_manifest(two / "submissions/tiny-ipc1/sharp", sha256="0" * 64)
    [pair] = pairs([two / "results"], "sharp", "plain")
    assert differing(pair, two / "submissions")["config steps"] == ("-", "5")


def test_it_is_printed(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show([two / "results"], two / "submissions", "sharp", "plain")
    printed = capsys.readouterr().out
    assert "points, 95 % from" in printed and "what differs" in printed and "config lr" in printed
    show([two / "results"], two / "submissions", "sharp", "plain", as_json=True)
    [same] = json.loads(capsys.readouterr().out)
    assert f"{100 * same['top1']:+.1f} points, 95 % from {100 * same['low']:+.1f} to" in printed
    assert same["differs"]["config lr"] == ["0.1", "-"] and same["classes"][0]["label"] == 2
