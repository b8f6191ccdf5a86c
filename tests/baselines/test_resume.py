"""A method that was interrupted goes on from its checkpoint to the same bytes, whatever its clips are made of."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from tests.baselines.test_dm import Small
from tests.baselines.test_frepo import QUICK as FREPO
from tests.baselines.test_frepo import SOFT as FREPO_SOFT
from tests.baselines.test_prism import QUICK as PRISM
from vddbench.baselines import dm, sre2l
from vddbench.data.store import Split, Store
from vddbench.distillation.learn import Learned, learn
from vddbench.distillation.teacher import Teacher
from vddbench.lookup import load
from vddbench.spec import Task

CPU = torch.device("cpu")
ADAM = {"iterations": 5, "optimiser": "adam", "momentum": 0.9, "lr": 0.05}  # Adam: its state must be resumed, too
IN_USE = {**ADAM, "updates_per_net": 3}  # a network is in use at each interruption
CASES = {  # settings that differ from the preset smoke
    "dm": IN_USE,
    "dm_basis": IN_USE,
    "dm_factor": IN_USE,
    "mtt": {**ADAM, "inner_batch": 2},  # parts of the set
    "mtt_factor": ADAM,
    "sfvd": ADAM,
    "sfvd_t": {**ADAM, "frame_iterations": 2, "lr_layer": 1.0},  # interrupted in either stage
    "prism": asdict(PRISM),  # interrupted between insertions
    "static_dc": ADAM,
    "static_dc-trained": {"iterations": 5, "outer": 2, "inner": 2, "batch_train": 2},  # its network, too
    "tsgd": {"iterations": 5, "soft_labels": False},
    "tsgd-soft": {"iterations": 5, "soft_labels": True},
    "frepo": asdict(FREPO),
    "frepo_soft": asdict(FREPO_SOFT),
}
ON_TINY = ("tsgd", "frepo", "frepo_soft")
MARKS = {"frepo": pytest.mark.long, "frepo_soft": pytest.mark.slow}  # real networks


@pytest.fixture(autouse=True)
def small_nets(toy_experts: None, small_teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm, "random_net", lambda spec, seed, device: Small(spec, seed, torch.nn.Tanh()))
    monkeypatch.setattr(sre2l, "teacher", lambda *args, **settings: small_teacher)


@pytest.mark.parametrize("case", [pytest.param(case, marks=MARKS.get(case, ())) for case in CASES])
def test_a_run_interrupted_twice_has_the_losses_and_the_bytes_of_a_whole_one(
    case: str, split: Split, tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, steps = case.partition("-")[0], list[int]()
    method, train = load("baseline", name), tiny.train if name in ON_TINY else split
    config, task = replace(method.PRESETS["smoke"], **CASES[case]), Task(dataset=train.dataset, ipc=1)

    def run(folder: str, stop: int | None = None) -> Learned:
        torch.manual_seed(len(steps))  # what others drew must not matter
        learner = method.learner(train, task, config, 0, CPU)
        step = learner.step

        def interrupted(iteration: int) -> torch.Tensor:
            if iteration == stop:
                raise KeyboardInterrupt
            steps.append(iteration)
            return step(iteration)

        monkeypatch.setattr(learner, "step", interrupted)
        return learn(learner, asdict(config), tmp_path / folder, None, "run")

    monkeypatch.setattr("vddbench.distillation.learn.CHECKPOINT_SECONDS", 0)
    whole = run("whole")
    steps.clear()
    for stop in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            run("parts", stop)
    resumed = run("parts")
    assert steps == list(range(config.iterations)) and whole.progress.losses == resumed.progress.losses
    tensors, again = whole.distilled.tensors, resumed.distilled.tensors
    assert tensors.keys() == again.keys() and all(torch.equal(value, again[name]) for name, value in tensors.items())
    assert whole.distilled.chosen == resumed.distilled.chosen
    start = method.learner(train, task, config, 0, CPU).distilled().tensors
    assert any(not torch.equal(value, start[name]) for name, value in tensors.items())
    if name == "prism":
        assert len(tensors["times"]) > len(start["times"])  # key-frames were inserted
