"""Steps of distillers read nothing back from the device, so a GPU need not wait for the host."""

from __future__ import annotations

import torch

from tests.builders.operations import recorded
from vddbench.baselines import dm
from vddbench.data.store import Store
from vddbench.distillation import unrolled_sgd
from vddbench.spec import Task

CPU = torch.device("cpu")


def test_a_step_of_dm_reads_nothing_back(tiny: Store) -> None:
    learner = dm.learner(tiny.train, Task(dataset="tiny", ipc=1), dm.Config(real_per_class=1, updates_per_net=2), 0, CPU)
    learner.step(0)
    assert not recorded(lambda: learner.step(1)).waiting  # on the same network
    assert not recorded(lambda: learner.step(2)).waiting  # on a new one


def test_the_matching_of_trajectories_reads_nothing_back() -> None:
    def loss_of(weights: torch.Tensor, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(clips @ weights.view(4, 3), labels)

    start, target, clips, labels = torch.zeros(12), torch.ones(12), torch.randn(6, 4), torch.arange(6) % 3
    rows = [None, torch.tensor([0, 2]), torch.tensor([1, 5])]
    recorder = recorded(lambda: unrolled_sgd.matched(loss_of, start, target, clips, labels, torch.tensor(0.1), rows))
    assert not recorder.waiting and len(recorder.operations) > 20
