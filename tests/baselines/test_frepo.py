"""Kernel ridge regression and what FRePo learns with it."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from tests.builders.stores import SIZE
from tests.builders.submissions import SPEC
from vddbench.baselines import frepo, frepo_soft
from vddbench.data.store import Store
from vddbench.distillation.features import fresh_seed, random_net
from vddbench.distillation.real_clips import stream
from vddbench.distillation.soft_frames import check_budget
from vddbench.distillation.synthetic_clips import AFFINE_BYTES
from vddbench.evaluation.train import to_input
from vddbench.spec import DatasetSpec, Task
from vddbench.submissions.decoders import keyframes, pixels

CPU = torch.device("cpu")
TASK = Task(dataset="tiny", ipc=1)
QUICK = frepo.Config(iterations=4, real_batch=4, pool=2, net_updates=3, net_warmup=0, lr=0.05)
SOFT = frepo_soft.Config(**asdict(QUICK), lr_labels=0.05)


def as_kept(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As a checkpoint keeps it: copies, contiguous."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def spec_of(frames: int, size: int, num_classes: int) -> DatasetSpec:
    names = tuple(f"{i:04d}" for i in range(num_classes))
    return SPEC.model_copy(update={"class_names": names, "frames": frames, "size": size})


@pytest.mark.parametrize("num_support", [5, 12])  # fewer and more clips than features
def test_kernel_ridge_equals_ridge_on_features(num_support: int) -> None:
    rng = np.random.default_rng(0)
    x, t = torch.from_numpy(rng.normal(size=(num_support, 7))), torch.from_numpy(rng.normal(size=(9, 7)))
    y = torch.from_numpy(rng.normal(size=(num_support, 3)))
    share = 1e-2
    strength = share * (x @ x.T).trace() / num_support
    primal = t @ torch.linalg.inv(x.T @ x + strength * torch.eye(7, dtype=x.dtype)) @ x.T @ y
    torch.testing.assert_close(frepo.ridge_prediction(t, x, y, share), primal, rtol=1e-11, atol=1e-11)


def test_a_clip_among_the_synthetic_ones_is_given_its_own_label() -> None:
    x = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    y = frepo.scaled(frepo.one_hot(torch.arange(6), 6))
    torch.testing.assert_close(frepo.ridge_prediction(x, x, y, 1e-6).float(), y, rtol=1e-3, atol=1e-4)


def test_more_clips_than_features_or_dead_networks_raise_nothing() -> None:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    assert frepo.ridge_prediction(x, x, torch.eye(30), 1e-6).isfinite().all()
    assert not frepo.ridge_prediction(x[:2], torch.zeros(3, 4), torch.eye(3), 1e-6).isfinite().any()


def test_centred_labels_sum_to_zero_and_synthetic_ones_shrink_with_the_classes() -> None:
    labels = torch.tensor([0, 3, 3, 39])
    hot = frepo.one_hot(labels, 40)
    for targets in (frepo.centred(hot), frepo.scaled(hot)):
        torch.testing.assert_close(targets.sum(1), torch.zeros(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(frepo.scaled(hot) * 2, frepo.centred(hot))  # sqrt(40 / 10)
    assert torch.equal(frepo.scaled(hot).argmax(1), labels)


def test_the_margin_counts_up_to_one_share_of_the_classes() -> None:
    targets = torch.tensor([[0.5, 0.4, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0]])
    torch.testing.assert_close(frepo.margin(targets), torch.tensor([-0.1, -0.25]))


def test_rates_follow_the_published_schedules() -> None:
    assert frepo.cosine(0, 100, 0.1) == 1 and frepo.cosine(50, 100, 0.1) == pytest.approx(0.55)
    assert frepo.cosine(100, 100, 0.1) == pytest.approx(0.1) == frepo.cosine(130, 100, 0.1)
    published = frepo.Config()
    assert frepo.net_schedule(0, published) == pytest.approx(0.01)
    assert frepo.net_schedule(50, published) == pytest.approx((0.01 + 0.99 * 0.1) * (0.01 + 0.99 * 0.5))
    assert frepo.net_schedule(0, replace(published, net_warmup=0)) == 1


def test_pixels_in_parts_have_the_gradient_of_the_whole(tiny: Store) -> None:
    net = random_net(tiny.spec, 0, CPU)
    clips = torch.randn(5, 3, 8, SIZE, SIZE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = []
    for size in (5, 2):
        embedded = frepo.embed_in_parts(net, clips, size, CPU)
        (gradient,) = torch.autograd.grad(embedded.square().sum(), clips)
        found.append((embedded.detach(), gradient))
    torch.testing.assert_close(found[0], found[1], rtol=1e-2, atol=1e-2 * float(found[0][1].abs().max()))


def test_learning_on_one_batch_and_net_lowers_the_loss_and_leaves_hard_labels(tiny: Store) -> None:
    matching = frepo.learner(tiny.train, TASK, replace(QUICK, iterations=1000), 0, CPU)
    net, labels = matching.pool[0].net, matching.memory.labels.clone()
    losses = []
    for _ in range(4):
        loss = matching._loss([net], 0, np.random.default_rng(0))
        matching.optimiser.zero_grad()
        loss.backward()
        matching.optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[3] < 0.7 * losses[0], losses
    assert torch.equal(matching.memory.labels, labels) and not matching.targets().requires_grad
    assert torch.equal(matching.memory.tensors()["labels"], torch.arange(8, dtype=torch.uint8))


def test_a_step_trains_one_network_on_the_synthetic_clips(tiny: Store) -> None:
    matching = frepo.learner(tiny.train, TASK, replace(QUICK, net_updates=100, net_batch=5, micro_batch=3), 0, CPU)
    before = [as_kept(net.state("")) for net in matching.pool]
    matching.step(0)
    changed = [
        any(not torch.equal(old[f"net.{k}"], v) for k, v in net.parameters.items())
        for net, old in zip(matching.pool, before, strict=True)
    ]
    chosen = int(stream(0, 0, 2).integers(2))
    assert changed == [i == chosen for i in range(2)]
    assert [net.updates for net in matching.pool] == [int(yes) for yes in changed]
    assert not any(p.requires_grad or p.grad is not None for net in matching.pool for p in net.parameters.values())


def test_networks_start_staggered_and_are_replaced_after_their_last_update(tiny: Store) -> None:
    matching = frepo.learner(tiny.train, TASK, replace(QUICK, pool=2, net_updates=4), 0, CPU)
    assert [net.last_update for net in matching.pool] == [4, 2]
    for net in matching.pool:
        net.updates = net.last_update - 1
    chosen = int(stream(0, 7, 2).integers(2))
    kept = matching.pool[1 - chosen]
    old = as_kept(matching.pool[chosen].state(""))
    matching.step(7)
    fresh = matching.pool[chosen]
    assert matching.pool[1 - chosen] is kept
    assert (fresh.updates, fresh.last_update) == (0, 4) and not fresh.optimiser.state_dict()["state"]
    assert not torch.equal(fresh.parameters["features.0.weight"], old["net.features.0.weight"])


def test_a_frozen_pool_is_never_trained_and_predicts_with_all_its_networks(tiny: Store) -> None:
    config = replace(QUICK, frozen=True, pool=2)
    matching = frepo.learner(tiny.train, TASK, config, 0, CPU)
    start = matching.memory.parameters["clips"].detach().clone()
    loss = matching.step(1)
    rng = stream(0, 1, 2)
    nets = [random_net(tiny.spec, fresh_seed(rng), CPU).eval() for _ in range(2)]
    clips, labels = matching.real.get(1)
    real, synthetic = to_input(clips, tiny.spec, CPU), start
    with torch.no_grad():
        kernels = [sum(frepo.embed(n, x, CPU) @ frepo.embed(n, synthetic, CPU).T for n in nets) for x in (real, synthetic)]
    across, within = (kernel.double() for kernel in kernels)
    ridge = config.ridge * within.trace() / len(within) * torch.eye(len(within), dtype=torch.float64)
    y = frepo.scaled(frepo.one_hot(matching.memory.labels, 8)).double()
    predicted = across @ torch.linalg.solve(within + ridge, y)
    error = frepo.squared_error(predicted, frepo.centred(frepo.one_hot(labels, 8)))
    assert float(loss) == pytest.approx(float(error), rel=1e-3)
    assert not matching.pool and not torch.equal(start, matching.memory.parameters["clips"].detach())
    resumed = frepo.learner(tiny.train, TASK, config, 0, CPU)
    resumed.restore(as_kept(matching.state()))
    assert torch.equal(matching.step(2), resumed.step(2))


def test_what_is_stored_decodes_to_what_was_learned(tiny: Store) -> None:
    learner = frepo_soft.learner(tiny.train, TASK, SOFT, 0, CPU)
    start = learner.memory.parameters["logits"].detach().clone()
    learner.step(0)
    assert not torch.equal(learner.memory.parameters["logits"], start)
    exact, tensors = learner.exact(), learner.distilled().tensors
    decoded = keyframes.decode(tensors, tiny.spec)
    step = float(tensors["scale"].max()) if "scale" in tensors else 1.0
    assert (decoded.clips.float() - exact.clips).abs().max() <= 0.51 * step
    assert torch.equal(exact.clips[:, -1], exact.clips[:, -2])
    seen = to_input(exact.clips, tiny.spec, CPU)
    torch.testing.assert_close(seen, learner.memory.clips(np.random.default_rng(0)).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decoded.labels.sum(1), torch.ones(8))
    torch.testing.assert_close(decoded.labels, exact.labels, rtol=0, atol=1e-3)
    assert torch.equal(exact.labels.argmax(1), learner.memory.labels)


def test_soft_labels_begin_at_the_confidence(tiny: Store) -> None:
    learner = frepo_soft.learner(tiny.train, TASK, SOFT, 0, CPU)
    torch.testing.assert_close(learner.exact().labels.diagonal(), torch.full((8,), 0.9))


@pytest.mark.parametrize("ipc", [1, 5, 10])
@pytest.mark.parametrize("num_classes", [10, 50, 400])
@pytest.mark.parametrize(("frames", "size"), [(16, 112), (8, 64)])
def test_soft_labels_fit_where_a_frame_is_left_out(frames: int, size: int, num_classes: int, ipc: int) -> None:
    check_budget("frepo_soft", Task(dataset="tiny", ipc=ipc), spec_of(frames, size, num_classes), "frepo")


def test_the_budget_check_counts_what_is_stored(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = frepo_soft.learner(tiny.train, TASK, SOFT, 0, CPU).memory.tensors()
    affine = AFFINE_BYTES if "scale" not in tensors else 0
    stored = sum(t.numel() * t.element_size() for t in tensors.values()) + affine
    monkeypatch.setattr(Task, "budget_bytes", lambda self, spec: stored)
    check_budget("frepo_soft", TASK, tiny.spec, "frepo")
    monkeypatch.setattr(Task, "budget_bytes", lambda self, spec: stored - 1)
    with pytest.raises(ValueError, match=f"needs {stored:,} bytes .* labels over 8 classes; tiny-ipc1 allows .*: use frepo"):
        check_budget("frepo_soft", TASK, tiny.spec, "frepo")


def test_fresh_networks_differ_by_seed_and_not_by_order(tiny: Store) -> None:
    one, two = (frepo.learner(tiny.train, TASK, QUICK, seed, CPU) for seed in (0, 1))
    again = frepo.PoolNet(tiny.spec, fresh_seed(stream(0, 1, 3)), CPU, QUICK, 1)
    key = "features.0.weight"
    assert torch.equal(one.pool[1].parameters[key], again.parameters[key])
    assert not torch.equal(one.pool[1].parameters[key], two.pool[1].parameters[key])
    assert not torch.equal(one.pool[1].parameters[key], one.pool[0].parameters[key])


def test_hard_payload_is_the_pixels_format(tiny: Store) -> None:
    learner = frepo.learner(tiny.train, TASK, QUICK, 0, CPU)
    decoded = pixels.decode(learner.distilled().tensors, tiny.spec)
    assert torch.equal(decoded.labels, torch.arange(8)) and decoded.clips.shape == (8, 8, SIZE, SIZE, 3)
