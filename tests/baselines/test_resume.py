"""A method that was interrupted goes on from its checkpoint to the same bytes, whatever its clips are made of."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from tests.baselines.test_dm import Small
from vddbench.baselines import dm, dm_basis, dm_factor, mtt, mtt_factor, sfvd
from vddbench.data.store import Split
from vddbench.distillation.contract import IterativeBaselineModule
from vddbench.distillation.learn import learn
from vddbench.spec import Task

CPU = torch.device("cpu")
QUICK = {"iterations": 5, "optimiser": "adam", "momentum": 0.9, "lr": 0.05}  # Adam: its state must be resumed, too


@pytest.fixture(autouse=True)
def small_nets(toy_experts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm, "random_net", lambda spec, seed, device: Small(spec, seed, torch.nn.Tanh()))


@pytest.mark.parametrize("method", [dm_basis, dm_factor, mtt_factor, sfvd], ids=lambda m: m.__name__.rpartition(".")[2])
def test_an_interrupted_run_ends_with_the_bytes_of_a_whole_one(
    method: IterativeBaselineModule, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(method.PRESETS["smoke"], **QUICK)
    if isinstance(config, dm.Config):
        config = replace(config, updates_per_net=2)  # a network is in use when the run is interrupted
    steps: list[int] = []

    def run(folder: str) -> dict[str, torch.Tensor]:
        learner = method.learner(split, Task(dataset="made", ipc=1), config, 0, CPU)
        return learn(learner, asdict(config), tmp_path / folder, None, "run").distilled.tensors

    whole, matching = run("whole"), dm.Matching if isinstance(config, dm.Config) else mtt.Matching
    step = matching.step

    def interrupted(self: object, iteration: int) -> torch.Tensor:
        if iteration == 3 and 3 not in steps:
            steps.append(3)
            raise KeyboardInterrupt
        steps.append(iteration)
        return step(self, iteration)  # type: ignore[arg-type]

    monkeypatch.setattr("vddbench.distillation.learn.CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(matching, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("parts")
    resumed = run("parts")
    assert steps == [0, 1, 2, 3, 3, 4] and whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    start = method.learner(split, Task(dataset="made", ipc=1), config, 0, CPU).distilled().tensors
    assert any(not torch.equal(value, start[name]) for name, value in whole.items())
