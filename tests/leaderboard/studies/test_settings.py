"""A study of settings scores each of them on validation videos once, and resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vddbench.baselines import dm, dm_sdd
from vddbench.data.store import Split, Store
from vddbench.distillation import resume
from vddbench.distillation.contract import Distilled
from vddbench.distillation.watch import Watch
from vddbench.leaderboard.studies.settings import changed_config, curve, settings
from vddbench.protocol import PROTOCOL
from vddbench.spec import Task
from vddbench.system.home import home

CPU = torch.device("cpu")
TASK = Task(dataset="tiny", ipc=1)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A score that takes no student. What a real one reads is tested with the watch of a run."""
    monkeypatch.setattr(Watch, "top1", lambda self, distilled: 0.1 * self.seeds[0])


def test_settings_are_parsed_into_the_fields_types() -> None:
    changed = changed_config(dm.Config(), "lr=0.5,iterations=7,optimiser=adam")
    assert (changed.lr, changed.iterations, changed.optimiser) == (0.5, 7, "adam")
    assert changed_config(dm.Config(), "") == dm.Config()


def test_a_switch_is_read_as_what_it_says() -> None:
    config = dm_sdd.PRESETS["fast"]
    assert config.real_motions and not changed_config(config, "real_motions=False").real_motions
    with pytest.raises(LookupError, match="real_motions='no': allowed is True or False"):
        changed_config(config, "real_motions=no")


@pytest.mark.parametrize(("text", "says"), [("lrr=1", "did you mean lr"), ("iterations=1.5", "allowed is int")])
def test_a_wrong_setting_is_refused(text: str, says: str) -> None:
    with pytest.raises(LookupError, match=says):
        changed_config(dm.Config(), text)


def test_distilling_reads_no_video_that_the_score_is_of(
    tiny: Store, scores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    clips = Split.clips

    def spied(self: Split, rows: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        read.update(self.index["video"].to_numpy()[rows])
        return clips(self, rows, starts)

    monkeypatch.setattr(Split, "clips", spied)
    settings("dm", TASK, "smoke", ["iterations=1,real_per_class=4"], [0], 0, CPU, tmp_path)
    assert read and read <= set(tiny.holdout_train.index["video"]) and read.isdisjoint(tiny.validation.index["video"])


def test_a_study_that_was_killed_resumes_and_leaves_nothing(
    tiny: Store, scores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = resume.drop

    def study() -> pd.DataFrame:
        return settings("dm", TASK, "smoke", ["iterations=2"], [0], 0, CPU, tmp_path)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resume, "drop", killed)  # after its last row
    with pytest.raises(KeyboardInterrupt):
        study()
    left = list((home() / "distill" / "tiny-ipc1").glob("study-dm-*/checkpoint.safetensors"))
    assert len(left) == 1
    monkeypatch.setattr(resume, "drop", dropped)
    with resume.locked(left[0].parent):  # another process adds more seeds
        assert len(study()) == 1 and left[0].exists()
    assert len(study()) == 1 and not left[0].exists()


def test_an_unknown_method_is_refused(tiny: Store, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no baseline named"):
        settings("nosuch", TASK, None, [""], [0], 0, CPU, tmp_path)


def test_a_method_that_does_not_iterate_is_scored_too(tiny: Store, scores: None, tmp_path: Path) -> None:
    table = settings("random", TASK, None, [""], [0], 3, CPU, tmp_path)
    assert table[["changed", "distill_seed", "student_seed"]].to_numpy().tolist() == [["", 3, 0]]


def test_each_setting_is_scored_once_a_seed(tiny: Store, scores: None, tmp_path: Path) -> None:
    def study(*tries: str) -> pd.DataFrame:
        return settings("dm", TASK, "smoke", tries, [0, 1], 0, CPU, tmp_path)

    first = study("iterations=1")
    assert first[["student_seed", "validation_top1"]].to_numpy().tolist() == [[0, 0.0], [1, 0.1]]
    again = study("iterations=1", "lr=0.1")
    assert len(again) == 4 and again["changed"].value_counts().to_dict() == {"iterations=1": 2, "lr=0.1": 2}
    written = pd.read_csv(tmp_path / "settings-dm-tiny-ipc1.csv")
    assert len(written) == 4 and written["settings"].nunique() == 2  # identified by all their values, not by the text
    assert len(study("iterations=1,real_per_class=2")) == 4  # the preset's own value, so no new setting


def test_a_row_of_another_protocol_is_kept_and_not_counted(tiny: Store, scores: None, tmp_path: Path) -> None:
    def study() -> list[str]:
        return settings("random", TASK, None, [""], [0], 0, CPU, tmp_path)["protocol"].tolist()

    study()
    file = tmp_path / "settings-random-tiny-ipc1.csv"
    pd.read_csv(file, keep_default_na=False).drop(columns="protocol").to_csv(file, index=False)
    assert study() == study() == ["", PROTOCOL.name]


def test_a_curve_has_the_start_each_scored_iteration_and_the_last(
    tiny: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scored: list[torch.Tensor] = []

    def top1(self: Watch, distilled: Distilled, on_step: object) -> float:
        scored.append(distilled.tensors["clips"])
        return 0.1 * len(scored) + 0.01 * len(self.seeds)

    monkeypatch.setattr(Watch, "top1", top1)
    tables = [curve("dm", TASK, "smoke", "iterations=5", 2, [0, 1], 0, CPU, tmp_path) for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)  # the second reads what the first wrote
    assert tables[0][["students", "iteration", "validation_top1"]].to_numpy().tolist() == [
        [2, 0, 0.12], [2, 2, 0.22], [2, 4, 0.32], [2, 5, 0.42],
    ]  # fmt: skip
    assert len(scored) == 4 and not torch.equal(scored[0], scored[1])
    assert tables[0]["loss"].iloc[0] == "" and all(float(loss) > 0 for loss in tables[0]["loss"].iloc[1:])
    assert not list((home() / "distill").rglob("checkpoint.safetensors"))


def test_a_curve_needs_iterations(tiny: Store, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="random has no iterations"):
        curve("random", TASK, None, "", 1, [0], 0, CPU, tmp_path)
