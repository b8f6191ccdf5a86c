"""A study of settings scores each on validation videos once, and goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vddbench.baselines import dm, dm_sdd
from vddbench.data.store import Split, Store
from vddbench.distillation import resume
from vddbench.distillation.watch import Watch
from vddbench.leaderboard.studies.settings import changed_config, settings
from vddbench.spec import Task
from vddbench.system.home import home

CPU = torch.device("cpu")


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


def test_distilling_reads_no_video_that_the_score_is_of(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    clips = Split.clips

    def spied(self: Split, rows: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        read.update(self.index["video"].to_numpy()[rows])
        return clips(self, rows, starts)

    monkeypatch.setattr(Split, "clips", spied)
    monkeypatch.setattr(Watch, "top1", lambda *given: 0.5)  # the scoring reads the others
    settings("dm", Task(dataset="tiny", ipc=1), "smoke", ["iterations=1,real_per_class=4"], [0], 0, CPU, tmp_path)
    assert read and read <= set(tiny.holdout_train.index["video"]) and read.isdisjoint(tiny.validation.index["video"])


def test_a_study_that_was_killed_goes_on_and_leaves_nothing(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, about = Task(dataset="tiny", ipc=1), ("dm", "smoke", ["iterations=2"])
    dropped = resume.drop

    def study() -> pd.DataFrame:
        return settings(about[0], task, about[1], about[2], [0], 0, CPU, tmp_path)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resume, "drop", killed)  # after its last row
    with pytest.raises(KeyboardInterrupt):
        study()
    left = list((home() / "distill" / "tiny-ipc1").glob("study-dm-*/checkpoint.safetensors"))
    assert len(left) == 1
    monkeypatch.setattr(resume, "drop", dropped)
    with resume.locked(left[0].parent):  # somebody else is at more seeds of it
        assert len(study()) == 1 and left[0].exists()
    assert len(study()) == 1 and not left[0].exists()


@pytest.mark.parametrize(("method", "says"), [("random", "random does not iterate"), ("nosuch", "no baseline named")])
def test_a_method_without_iterations_is_refused(method: str, says: str, tiny: Store, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=says):
        settings(method, Task(dataset="tiny", ipc=1), None, [""], [0], 0, CPU, tmp_path)


def test_each_setting_is_scored_on_held_out_videos_once(tiny: Store, tmp_path: Path) -> None:
    task = Task(dataset="tiny", ipc=1)

    def study(*tries: str) -> pd.DataFrame:
        return settings("dm", task, "smoke", tries, [0, 1], 0, CPU, tmp_path)

    first = study("iterations=1")
    assert len(first) == 2 and set(first["student_seed"]) == {0, 1} and first["validation_top1"].between(0, 1).all()
    again = study("iterations=1", "lr=0.1")
    assert len(again) == 4 and again["changed"].value_counts().to_dict() == {"iterations=1": 2, "lr=0.1": 2}
    written = pd.read_csv(tmp_path / "settings-dm-tiny-ipc1.csv")
    assert len(written) == 4 and written["settings"].nunique() == 2  # named by all settings, not by how they were asked for
    assert len(study("iterations=1,real_per_class=2")) == 4  # the preset's own value: nothing new
