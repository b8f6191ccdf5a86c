"""Studies go on where they stopped, and choose on validation videos that no student was trained on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from vddbench.data.store import Store
from vddbench.leaderboard.studies import protocol_studies as study
from vddbench.spec import Task


@pytest.mark.slow
def test_precision_study_pairs_seeds_and_resumes(tiny_random: Path, tmp_path: Path) -> None:
    study.precision(tiny_random, "convnet3d", range(1), tmp_path)
    (file,) = tmp_path.iterdir()
    first = pd.read_csv(file)
    table = study.precision(tiny_random, "convnet3d", range(2), tmp_path)
    assert list(table.columns) == ["bf16", "fp32"] and list(table.index) == [0, 1]
    again = pd.read_csv(file)
    assert again.iloc[:2].equals(first)  # seed 0 was not run again: its seconds are the same
    assert again["top1"].between(0, 1).all()


def test_lr_study_never_trains_on_the_videos_it_scores_on(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Store) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(Store, "train", property(forbidden))
    monkeypatch.setattr(Store, "test", property(forbidden))
    table = study.lr("convnet3d", Task(dataset="tiny", ipc=1), [0.01, 0.1], range(1), tmp_path)
    assert table["lr"].tolist() == [0.01, 0.1] and table["validation_top1"].between(0, 1).all()
