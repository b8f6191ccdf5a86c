"""Trajectory matching is what its paper says, in the memory of one step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from vddbench.baselines import datm, mtt
from vddbench.data.store import Split, Store
from vddbench.distillation.run import distill
from vddbench.distillation.unrolled_sgd import matched
from vddbench.spec import Task
from vddbench.submissions.check import check

CPU = torch.device("cpu")
TASK = Task(dataset="tiny", ipc=1)
Batches = Sequence[torch.Tensor | None]


def smooth_loss(theta: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Two layers: 6 inputs, 5 hidden, 3 classes."""
    hidden = torch.tanh(x @ theta[:30].view(6, 5) + theta[30:35])
    return F.cross_entropy(hidden @ theta[35:50].view(5, 3) + theta[50:53], labels)


def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    start, target = (torch.randn(53, generator=rng, dtype=torch.float64) for _ in range(2))
    x = torch.randn(4, 6, generator=rng, dtype=torch.float64)
    return start, target, x, torch.tensor([0, 1, 2, 0]), torch.tensor(0.3, dtype=torch.float64)


def unrolled(
    start: torch.Tensor, target: torch.Tensor, x: torch.Tensor, labels: torch.Tensor, lr: torch.Tensor, batches: Batches
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(loss, its gradients in clips and lr), by autograd through all steps."""
    x, lr, theta = x.clone().requires_grad_(), lr.clone().requires_grad_(), start.clone().requires_grad_()
    for rows in batches:
        loss = smooth_loss(theta, x, labels) if rows is None else smooth_loss(theta, x[rows], labels[rows])
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - lr * gradient
    loss = (theta - target).square().sum() / (start - target).square().sum()
    return loss.detach(), *torch.autograd.grad(loss, (x, lr))


@pytest.mark.parametrize(
    "batches",
    [[None], [None] * 2, [None] * 5, [torch.tensor([0, 2]), torch.tensor([3, 1]), torch.tensor([2, 3])]],
    ids=["1 step", "2 steps", "5 steps", "3 steps on parts"],
)
def test_the_gradient_is_that_of_autograd_through_all_steps(batches: Batches) -> None:
    start, target, x, labels, lr = case()
    found = matched(smooth_loss, start, target, x, labels, lr, batches)
    expected = unrolled(start, target, x, labels, lr, batches)
    for got, want in zip((found.loss, found.clips_gradient, found.lr_gradient), expected, strict=True):
        assert (got - want).norm() <= 1e-10 * want.norm() and want.norm() > 1e-6
        assert not got.requires_grad


def test_learned_labels_get_the_gradient_of_autograd_through_all_steps() -> None:
    start, target, x, hard, lr = case()
    labels = (F.one_hot(hard, 3) * 1.5).double().softmax(1)
    rows: Batches = [torch.tensor([0, 2, 3]), torch.tensor([3, 1, 0]), None]
    found = matched(smooth_loss, start, target, x, labels, lr, rows)
    learned = labels.clone().requires_grad_()
    theta = start.clone().requires_grad_()
    for batch in rows:
        part = slice(None) if batch is None else batch
        (gradient,) = torch.autograd.grad(smooth_loss(theta, x[part], learned[part]), theta, create_graph=True)
        theta = theta - lr * gradient
    loss = (theta - target).square().sum() / (start - target).square().sum()
    (expected,) = torch.autograd.grad(loss, learned)
    assert found.labels_gradient is not None
    assert (found.labels_gradient - expected).norm() <= 1e-10 * expected.norm() and expected.norm() > 1e-6
    assert matched(smooth_loss, start, target, x, hard, lr, rows).labels_gradient is None


def test_the_window_of_epochs_grows_to_the_end_and_is_constant_without_one() -> None:
    config = mtt.Config(max_start_epoch=10, first_max_start_epoch=6, window_iterations=100)
    assert [config.start_below(i) for i in (0, 24, 25, 50, 99, 100, 5000)] == [6, 6, 7, 8, 9, 10, 10]
    assert {mtt.Config().start_below(i) for i in (0, 7999)} == {10}


@pytest.mark.usefixtures("toy_experts")
def test_students_start_at_epochs_of_the_window(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    config = mtt.Config(inner_steps=1, max_start_epoch=50, first_max_start_epoch=2, window_iterations=100, lr=0.0)
    learner = mtt.learner(split, Task(dataset="made", ipc=1), config, 0, CPU)
    read, epochs = learner.real.start_and_target, list[int]()

    def start_and_target(expert: int, epoch: int, *rest: int | torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        epochs.append(epoch)
        return read(expert, epoch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(learner.real, "start_and_target", start_and_target)
    for iteration in (0, 1, 0, 1, 100, 101, 102, 103):
        learner.step(iteration)
    assert max(epochs[:4]) < 2 <= max(epochs[4:]) < 50


@pytest.mark.slow
def test_datm_starts_with_the_expert_s_labels_where_it_is_right_and_learns_them(tiny: Store) -> None:
    learner = datm.learner(tiny.train, TASK, datm.PRESETS["smoke"], 0, CPU)
    predicted = datm.predictions(learner, learner.memory.clips(np.random.default_rng(0)).detach()).softmax(1)
    right = predicted.argmax(1) == learner.memory.labels
    start = learner.exact().labels
    torch.testing.assert_close(start[right], predicted[right])
    torch.testing.assert_close(start[~right].amax(1), torch.full((int((~right).sum()),), 0.9))
    other = datm.learner(tiny.train, TASK, datm.PRESETS["smoke"], 0, CPU)
    learner.step(0)
    other.restore({name: value.clone() for name, value in learner.state().items()})
    assert torch.equal(learner.step(1), other.step(1)) and torch.equal(learner.exact().labels, other.exact().labels)
    assert not torch.equal(learner.exact().labels, start) and learner.distilled().tensors["labels"].shape == (8, 8)


def test_a_student_that_does_not_move_has_loss_one_and_one_that_arrives_has_loss_zero() -> None:
    start, target, x, labels, lr = case()
    assert matched(smooth_loss, start, target, x, labels, torch.zeros_like(lr), [None] * 3).loss == 1
    theta = start
    for _ in range(3):
        theta = theta - lr * torch.func.grad(smooth_loss)(theta, x, labels)
    assert matched(smooth_loss, start, theta, x, labels, lr, [None] * 3).loss < 1e-25


class _Saved:
    """A tensor that a graph holds on to."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def most_alive(work: Callable[[], object]) -> int:
    """The largest number of tensors that graphs hold at once."""
    alive: weakref.WeakSet[_Saved] = weakref.WeakSet()
    most = 0

    def pack(tensor: torch.Tensor) -> _Saved:
        nonlocal most
        held = _Saved(tensor)
        alive.add(held)
        most = max(most, len(alive))
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        work()
    return most


def test_no_more_than_one_step_is_held_in_memory_at_once() -> None:
    inputs = case()
    ours = [most_alive(lambda n=n: matched(smooth_loss, *inputs, [None] * n)) for n in (2, 6)]  # type: ignore[misc]
    through_all = [most_alive(lambda n=n: unrolled(*inputs, [None] * n)) for n in (2, 6)]  # type: ignore[misc]
    assert ours[0] == ours[1] > 0
    assert through_all[1] > 2 * through_all[0] > 2 * ours[0]


def made(tiny: Store, config: mtt.Config = mtt.PRESETS["smoke"]) -> mtt.Matching:
    """Of one train video a class, which is trained in a moment."""
    few = tiny.train.only(~tiny.train.index["label"].duplicated().to_numpy(bool))
    return mtt.learner(few, TASK, config, 3, CPU)


def test_steps_on_the_real_network_are_those_of_plain_sgd(tiny: Store) -> None:
    """And the loss after them can be told from weights alone."""
    learner = made(tiny)
    start, target = learner.real.start_and_target(0, 0, 1, CPU)
    x, labels, lr = learner.memory.clips(np.random.default_rng(0)).detach(), learner.memory.labels, torch.tensor(0.01)
    found = matched(learner._loss, start, target, x, labels, lr, [None])
    weights = start.clone().requires_grad_()
    learner._loss(weights, x, labels).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD([weights], lr=0.01).step()
    torch.testing.assert_close(found.loss, (weights - target).detach().square().sum() / (start - target).square().sum())
    assert 0.5 < found.loss < 1.5 and found.loss != 1


@pytest.mark.long
def test_mtt_makes_a_valid_submission_and_tells_lr_and_cost_of_experts(tiny: Store, tmp_path: Path) -> None:
    report = check(distill("mtt", TASK, 0, tmp_path, preset="smoke", device=CPU))
    assert report.accepted and report.budget_bytes is not None and report.payload_bytes <= report.budget_bytes
    assert report.manifest is not None
    told = report.manifest.config
    assert told["learned_lr"] == pytest.approx(0.01, abs=1e-3) and told["expert_clips_read"] == len(tiny.train)
    assert report.manifest.distill_clips_read == len(tiny.train)  # one epoch of one expert
