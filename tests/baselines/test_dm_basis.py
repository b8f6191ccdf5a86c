"""dm_basis refuses a task on which clips of a class would be copies of each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.baselines.test_dm import Small
from vddbench.baselines import dm, dm_basis
from vddbench.data.store import Split
from vddbench.spec import Task

CPU = torch.device("cpu")
SMOKE = dm_basis.PRESETS["smoke"]


@pytest.fixture(autouse=True)
def small_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm, "random_net", lambda spec, seed, device: Small(spec, seed, torch.nn.Tanh()))


def test_a_class_with_fewer_videos_than_clips_is_refused_and_one_clip_per_slot_serves(split: Split) -> None:
    with pytest.raises(ValueError, match=r"6 clips per class .* class of made has 4 videos: use a smaller ipc, or fewer"):
        dm_basis.learner(split, Task(dataset="made", ipc=3), SMOKE, 0, CPU)
    for ipc, clips_per_slot in ((2, 2), (4, 1)):
        learner = dm_basis.learner(split, Task(dataset="made", ipc=ipc), replace(SMOKE, clips_per_slot=clips_per_slot), 0, CPU)
        coefficients = learner.memory.parameters["coefficients"]
        assert len(coefficients) == len(coefficients.unique(dim=0)) == 3 * 4


def test_a_budget_with_fewer_bases_than_clips_is_refused(split: Split) -> None:
    with pytest.raises(ValueError, match=r"holds 0 per class.*: use a larger shrink in the method's file, or fewer"):
        dm_basis.learner(split, Task(dataset="made", ipc=1), replace(SMOKE, shrink=1), 0, CPU)
