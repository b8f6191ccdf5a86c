"""SRe2L and TSGD are what their papers say: statistics match, labels are the teacher's answers, still pixels move less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vddbench.baselines import sre2l, tsgd
from vddbench.data.store import Store
from vddbench.distillation.batch_norm_teacher import logits_and_distances
from vddbench.distillation.run import distill
from vddbench.distillation.teacher import Teacher, answers
from vddbench.spec import Task
from vddbench.submissions.decoders import keyframes, pixels

CPU, TASK = torch.device("cpu"), Task(dataset="tiny", ipc=1)
SMOKE = sre2l.PRESETS["smoke"]


def small_net() -> nn.Module:
    """Two convolutions with batch norm, in float64 so that finite differences are exact."""
    torch.manual_seed(0)
    first, second = [nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.Tanh()], [nn.Conv3d(4, 2, (1, 2, 2)), nn.BatchNorm3d(2)]
    net = nn.Sequential(*first, *second, nn.Flatten(), nn.LazyLinear(3)).double()
    net(clips())  # also moves the running statistics away from 0 and 1
    return net.eval().requires_grad_(False)


@pytest.fixture
def taught(small_teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learners get the small teacher."""
    monkeypatch.setattr(sre2l, "teacher", lambda *args, **settings: small_teacher)


def clips() -> torch.Tensor:
    return torch.randn(2, 3, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_distances_are_0_where_the_statistics_of_a_batch_are_those_that_the_layers_remember() -> None:
    net, x = small_net(), clips()
    _, before = logits_and_distances(net, x)
    assert before.shape == (2,) and float(before.min()) > 0.1
    for layer in (1, 4):  # in this order, because the input of the second depends on the first
        variance, mean = torch.var_mean(net[:layer](x), (0, 2, 3, 4), correction=0)
        net[layer].running_mean.copy_(mean)
        net[layer].running_var.copy_(variance)
    logits, after = logits_and_distances(net, x)
    assert float(after.max()) < 1e-12 and torch.equal(logits, net(x))


def test_the_gradient_of_the_distances_is_that_of_finite_differences() -> None:
    net, x = small_net(), clips().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: logits_and_distances(net, x), (x,), eps=1e-6, atol=1e-5)


def test_the_loss_weighs_the_first_batch_norm_ten_times_and_the_statistics_a_hundredth() -> None:
    net, x, labels = small_net(), clips(), torch.tensor([0, 2])
    logits, (first, second) = logits_and_distances(net, x)
    priors = 1e-4 * sre2l.total_variation(x) + 1e-5 * x.flatten(1).norm(dim=1).mean()
    expected = F.cross_entropy(logits, labels) + 0.01 * (10 * first + second) + priors
    learner = SimpleNamespace(config=sre2l.Config(), teacher=SimpleNamespace(model=net))
    torch.testing.assert_close(sre2l.Synthesis.loss(learner, x, labels), expected)  # type: ignore[arg-type]


def test_total_variation_is_0_for_a_uniform_clip_and_counts_edges() -> None:
    x = torch.zeros(1, 1, 1, 4, 4)
    assert float(sre2l.total_variation(x)) == 0
    x[..., 2:] = 1  # one vertical edge: 4 neighbours along x, 3 on each diagonal
    assert float(sre2l.total_variation(x)) == pytest.approx(4**0.5 + 2 * 3**0.5)


def test_saliency_is_1_in_the_mean_and_a_tenth_where_nothing_moves() -> None:
    moving = torch.zeros(2, 3, 8, 6, 6)
    moving[:, :, :, :3] = torch.rand(2, 3, 8, 3, 6, generator=torch.Generator().manual_seed(0))  # the upper half flickers
    weights = tsgd.saliency(moving, 3)
    assert weights.shape == (2, 1, 8, 6, 6)
    torch.testing.assert_close(weights.mean((1, 2, 3, 4)), torch.ones(2), atol=1e-4, rtol=0)
    assert float(weights[..., 3:, :].max()) == 0 and float(weights[:, :, 1:, :3].min()) > 0
    by_hand = (moving[0, :, 1, 0, 0] - moving[0, :, 0, 0, 0]).abs().mean() / (
        moving[0, :, 2, 0, 0] - moving[0, :, 1, 0, 0]
    ).abs().add((moving[0, :, 2, 0, 0] - moving[0, :, 0, 0, 0]).abs() / 2).mean()
    assert float(weights[0, 0, 1, 0, 0] / weights[0, 0, 2, 0, 0]) == pytest.approx(float(by_hand), rel=1e-5)


@pytest.mark.usefixtures("taught")
def test_the_gradient_of_a_still_clip_is_a_tenth_of_sre2ls(tiny: Store) -> None:
    config = replace(tsgd.PRESETS["smoke"], lr=0.0)
    learner = tsgd.learner(tiny.train, TASK, config, 0, CPU)
    plain = sre2l.learner(tiny.train, TASK, replace(SMOKE, lr=0.0), 0, CPU)
    for synthesis in (learner, plain):
        with torch.no_grad():
            synthesis.clips.copy_(synthesis.clips[:, :, :1].expand_as(synthesis.clips))
        synthesis.step(0)
    torch.testing.assert_close(learner.clips.grad, 0.1 * plain.clips.grad)


@pytest.mark.usefixtures("taught")
def test_the_gradient_of_a_few_pixels_that_move_is_three_times_sre2ls_and_not_more(tiny: Store) -> None:
    learner = tsgd.learner(tiny.train, TASK, replace(tsgd.PRESETS["smoke"], lr=0.0), 0, CPU)
    plain = sre2l.learner(tiny.train, TASK, replace(SMOKE, lr=0.0), 0, CPU)
    for synthesis in (learner, plain):
        with torch.no_grad():
            synthesis.clips.copy_(synthesis.clips[:, :, :1].expand_as(synthesis.clips))
            synthesis.clips[:, :, 4:, :8, :8] += 0.5
    saliency = tsgd.saliency(learner.clips, 3)
    assert float(saliency[saliency > 0].min()) > 3
    for synthesis in (learner, plain):
        synthesis.step(0)
    torch.testing.assert_close(learner.clips.grad, torch.where(saliency > 0, 3.0, 0.1) * plain.clips.grad)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("method", [sre2l, tsgd])
def test_soft_labels_are_the_teachers_answers_to_the_clips_that_students_see(method: object, tiny: Store) -> None:
    config = replace(method.PRESETS["smoke"], soft_labels=True)  # type: ignore[attr-defined]
    learner = method.learner(tiny.train, TASK, config, 0, CPU)  # type: ignore[attr-defined]
    learner.step(0)
    assert config.decoder == "keyframes"
    tensors = learner.distilled().tensors
    assert sum(t.numel() * t.element_size() for t in tensors.values()) <= (TASK.budget_bytes(tiny.spec) or 0)
    seen = keyframes.decode(tensors, tiny.spec)
    assert torch.equal(seen.clips[:, -1], seen.clips[:, -2])
    torch.testing.assert_close(seen.labels, answers(learner.teacher.model, seen.clips, tiny.train), atol=0.03, rtol=0)  # 8 bits


@pytest.mark.usefixtures("taught")
def test_the_loss_falls_and_values_stay_between_black_and_white(tiny: Store) -> None:
    learner = sre2l.learner(tiny.train, TASK, replace(SMOKE, iterations=6), 0, CPU)
    losses = [float(learner.step(i)) for i in range(6)]
    assert losses[-1] < losses[0]
    exact = learner.exact().clips
    assert float(exact.min()) > -1e-3 and float(exact.max()) < 255.001
    assert torch.equal(pixels.decode(learner.distilled().tensors, tiny.spec).labels, torch.arange(8))


@pytest.mark.usefixtures("taught")
def test_batches_have_one_clip_of_each_class_after_the_other(tiny: Store) -> None:
    learner = sre2l.learner(tiny.train, Task(dataset="tiny", ipc=5), replace(SMOKE, batch=8), 0, CPU)
    assert [learner.memory.labels[rows].tolist() for rows in learner.batches] == [list(range(8))] * 5


def test_a_class_with_fewer_videos_than_clips_is_refused(tiny: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 8 train videos, 10 are needed; use a smaller ipc"):
        distill("sre2l", Task(dataset="tiny", ipc=10), 0, tmp_path, preset="smoke")


@pytest.mark.usefixtures("taught")
def test_a_loss_that_is_not_finite_ends_the_run_with_advice(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sre2l.PRESETS, "smoke", replace(SMOKE, statistics=1e300))
    with pytest.raises(ValueError, match="not finite at iteration 0: lower the learning rates"):
        distill("sre2l", TASK, 0, tmp_path, preset="smoke")
