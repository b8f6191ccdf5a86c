"""DM is what its paper says: class means of features are matched, and the pixels get that loss's gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vddbench.baselines import dm
from vddbench.data.store import Split, Store
from vddbench.distillation.features import embed, fresh_seed, random_net
from vddbench.distillation.real_clips import stream
from vddbench.distillation.synthetic_clips import Pixels, real_start
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import to_input
from vddbench.spec import DatasetSpec

CPU = torch.device("cpu")
STILL = dm.Config(iterations=1, real_per_class=3, optimiser="sgd", lr=0.0)


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features in fp32 also on machines that would take bf16."""
    monkeypatch.setattr(convnet3d, "BF16", False)


@pytest.fixture(scope="module")
def single_start(tiny: Store) -> Split:
    """The videos of exactly T frames, so that a video is one clip: three of each of two classes."""
    return of_two(tiny.train.only(tiny.train.last_starts == 0))


def of_two(train: Split) -> Split:
    spec = train.spec.model_copy(update={"class_names": train.spec.class_names[:2]})
    return replace(train.only(train.labels < 2), spec=spec)


def matching(train: Split, clips: torch.Tensor, labels: torch.Tensor, config: dm.Config) -> dm.Matching:
    return dm.Matching(train, Pixels(clips, labels, train.spec, CPU), config, 0, CPU)


def test_the_loss_of_the_real_clips_themselves_is_0(single_start: Split) -> None:
    clips, labels = real_start(single_start, 3, np.random.default_rng(0))  # all three, in another order than they are drawn
    assert float(matching(single_start, clips, labels, STILL).step(0)) < 1e-9


@pytest.mark.parametrize("iteration", [0, 1, 2, 3])
def test_with_dsa_the_loss_of_the_real_clips_themselves_stays_0_because_both_are_changed_alike(
    iteration: int, single_start: Split
) -> None:
    clips, labels = real_start(single_start, 3, np.random.default_rng(0))
    learner = matching(single_start, clips, labels, replace(STILL, dsa=True))
    assert float(learner.step(iteration)) < 1e-9 and learner.target is not None and learner.target.change is not None


def test_the_loss_of_the_class_means_is_0_for_a_linear_network(single_start: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of features is the feature of the mean where features are linear."""
    monkeypatch.setattr(dm, "random_net", lambda spec, seed, device: Small(spec, seed, torch.nn.Identity()))
    clips, labels = real_start(single_start, 3, np.random.default_rng(0))
    means = clips.float().reshape(2, 3, *clips.shape[1:]).mean(1)
    assert float(matching(single_start, means, labels[::3], STILL).step(0)) < 1e-8
    assert float(matching(single_start, means + 5, labels[::3], STILL).step(0)) > 1e-5


def test_one_batched_forward_is_the_loop_over_classes(tiny: Store) -> None:
    train = of_two(tiny.train)
    clips, labels = real_start(train, 2, np.random.default_rng(0))
    learner = matching(train, clips, labels, STILL)
    loss = float(learner.step(5))
    net = random_net(train.spec, fresh_seed(stream(0, 5, 2)), CPU)
    real, real_labels = learner.real.get(5)
    expected = 0.0
    for label in range(2):
        target = embed(net, to_input(real[real_labels == label], train.spec, CPU), CPU).mean(0)
        found = embed(net, to_input(clips[labels == label], train.spec, CPU), CPU).mean(0)
        expected += float((target - found).square().sum())
    assert loss == pytest.approx(expected, rel=1e-4)


class Small(torch.nn.Module):
    """Features of a clip: a few random sums of its pixels, through `bend`."""

    def __init__(self, spec: DatasetSpec, seed: int, bend: torch.nn.Module) -> None:
        super().__init__()
        pixels = int(np.prod(spec.clip_shape))
        self.weight = torch.randn(pixels, 6, generator=torch.Generator().manual_seed(seed % 2**31)) / pixels**0.5
        self.bend = bend

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.bend(x.flatten(1) @ self.weight.to(x.dtype))
        return features


def two_classes(tiny: Store) -> Split:
    """Clips of two classes, 2 frames of 4x4 pixels: few enough to move each."""
    index = tiny.train.index.head(12).assign(offset=np.arange(12) * 3, num_frames=3, label=np.repeat([0, 1], 6))
    frames = np.random.default_rng(0).integers(0, 256, (36, 4, 4, 3), np.uint8)
    spec = tiny.spec.model_copy(update={"size": 4, "frames": 2, "class_names": ("a", "b")})
    return Split(name="train", dataset="small", digest="", spec=spec, index=index, frames=frames)


def test_pixels_get_the_gradient_that_finite_differences_give(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm, "random_net", lambda spec, seed, device: Small(spec, seed, torch.nn.Tanh()))
    train = two_classes(tiny)
    clips, labels = real_start(train, 2, np.random.default_rng(0))
    learner = matching(train, clips, labels, replace(STILL, lr=1.0, momentum=0.0))
    pixels = learner.memory.parameters["clips"]
    start = pixels.detach().clone()
    learner.step(3)
    gradient = start - pixels.detach()  # one SGD step of rate 1 without momentum

    def loss_at(values: torch.Tensor) -> float:
        with torch.no_grad():
            pixels.copy_(values)
        return float(learner.step(3))

    worst = 0.0
    for i in np.random.default_rng(1).choice(start.numel(), 40, replace=False).tolist():
        move = torch.zeros(start.numel())
        move[i] = 0.05
        move = move.reshape(start.shape)
        slope = (loss_at(start + move) - loss_at(start - move)) / 0.1
        worst = max(worst, abs(slope - float(gradient[move > 0])))
    assert float(gradient.abs().max()) > 0.02
    assert worst < 5e-5


def test_the_loss_falls_and_classes_stay_where_they_were(tiny: Store) -> None:
    config = dm.Config(iterations=5, real_per_class=2, optimiser="adam", lr=0.1)
    clips = torch.full((2, *tiny.spec.clip_shape), 128, dtype=torch.uint8)
    learner = matching(of_two(tiny.train), clips, torch.arange(2), config)
    losses = [float(learner.step(i)) for i in range(5)]
    assert losses[-1] < 0.8 * losses[0]
    assert learner.distilled().tensors["labels"].tolist() == [0, 1]


def test_clips_are_drawn_once_for_each_network(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm, "random_net", lambda spec, seed, device: Small(spec, seed, torch.nn.Tanh()))
    train, config = two_classes(tiny), dm.Config(real_per_class=2, updates_per_net=3)
    learner = matching(train, *real_start(train, 2, np.random.default_rng(0)), config)
    for iteration in range(5):
        learner.step(iteration)
    assert learner.real.clips_read == 2 * 4  # of two networks
