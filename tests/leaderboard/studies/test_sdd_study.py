"""The study of the released protocol's faults mends one at a time, trains no student twice and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders.students import use_linear_student
from vddbench.evaluation.ready import decoded, open_with_store
from vddbench.evaluation.sdd import Replay
from vddbench.leaderboard.studies import sdd as study
from vddbench.protocol import MENDED, SDD, Sdd


def test_each_row_mends_one_fault_and_students_are_shared(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    use_linear_student(monkeypatch)
    trained: list[Sdd] = []
    train = Replay.train

    def counted(self: Replay, *args: Any, **options: Any) -> Any:
        trained.append(self.protocol)
        return train(self, *args, **options)

    monkeypatch.setattr(Replay, "train", counted)
    table = study.study([tiny_random], 1, range(2), ["length+scale"], tmp_path)
    of_training = ["one_epoch_more", "length", "gradient_norm", "momentum_at_drop", "scale"]
    assert set(table["mended"]) == {"none", "all", "length+scale", *of_training, *study.OF_TEST}  # no learned lr, no pairs
    assert len(table) == 2 * 12 and len(trained) == 2 * 8
    assert SDD.mended("length", "scale").model_copy(update={"epochs": 1}) in trained
    assert sorted(table.loc[table["seed"] == 0, "steps"]) == [1] + [2] * 11
    assert len(study.study([tiny_random], 1, range(2), [], tmp_path)) == 24 and len(trained) == 16
    assert "mended: scale" in capfd.readouterr().err
    assert not any("nan" in line for line in study.summary(table[table["seed"] == 0]))


def test_a_set_with_a_learned_rate_and_pairs_has_rows_for_them(tiny_random: Path) -> None:
    replay = decoded(open_with_store(tiny_random), SDD).referee("convnet3d")
    assert isinstance(replay, Replay)
    with_both = Replay(**{**vars(replay), "learned_lr": 0.02, "pairs": 4})
    assert set(study.variants(with_both)) == {"none", "all", *MENDED} - {"top5"}
