"""The yardstick does what the baselines do, and what autograd holds is counted."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from vddbench.data.store import Split
from vddbench.evaluation.speed import random_split
from vddbench.leaderboard.studies.bench import distillers, naive
from vddbench.leaderboard.studies.bench.distillers import AVLETTERS10, Case, graph_bytes, measure, small_mtt
from vddbench.spec import Task
from vddbench.system.home import home, temporary_home

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def split() -> Split:
    spec = AVLETTERS10.model_copy(update={"class_names": ("A", "B")})
    return random_split(spec, 4)


def test_the_bytes_that_autograd_holds_are_those_of_saved_tensors_and_only_while_they_are_held() -> None:
    x = torch.ones(1000, requires_grad=True)

    def product() -> None:
        (x * x).sum().backward()

    assert graph_bytes(product) == 2 * 4000  # both factors
    assert graph_bytes(lambda: [product() for _ in range(3)]) == 2 * 4000


@pytest.mark.slow
def test_graphs_of_the_straightforward_mtt_grow_with_inner_steps_and_ours_do_not(split: Split) -> None:
    with temporary_home():
        ours = [distillers.mtt.learner(split, Task(dataset="bench", ipc=1), small_mtt(steps), 0, CPU) for steps in (1, 3)]
        one, three = (graph_bytes(partial(learner.step, 0)) for learner in ours)
    straight_one, straight_three = (graph_bytes(naive.mtt_step(split, 1, steps, CPU)) for steps in (1, 3))
    assert three <= 1.02 * one
    assert straight_three > 2 * straight_one


@pytest.mark.slow
def test_every_method_is_timed_against_its_straightforward_step(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillers, "ROUNDS", 1)
    with temporary_home():
        found = list(distillers.cases(split, {"per_class": 1, "batch": 2, "inner_steps": 1}, CPU))
        rows = [measure(case, CPU) for case in found]
    assert [row[0] for row in rows] == ["static_dc", "dm", "mtt, 1 inner steps", "frepo"]
    assert all(float(row[2]) > 0 and float(row[3]) > 0 and row[4].endswith("x") for row in rows)
    assert all(isinstance(case, Case) for case in found)


@pytest.mark.slow
def test_what_precision_alone_gains_is_told_beside_the_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillers, "ROUNDS", 1)
    rows = list(distillers.precision_rows(CPU))
    assert [row[0].split(",")[0] for row in rows] == ["product of matrices", "forward pass of MiniC3D"]
    for _, ours, plain, faster in rows:
        assert float(faster.rstrip("x")) == pytest.approx(float(plain) / float(ours), abs=0.06)


def test_experts_of_random_pixels_are_not_kept() -> None:
    before = home()
    with temporary_home():
        assert home() != before
    assert home() == before
