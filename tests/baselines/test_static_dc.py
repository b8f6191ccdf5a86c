"""Gradient matching is DC's: its distance, what it compares, and what stays the same when it is run again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders.submissions import SPEC
from vddbench.baselines import static_dc
from vddbench.baselines.static_dc import Config, Matching
from vddbench.data.store import Split, Store
from vddbench.distillation.real_clips import random_frames
from vddbench.distillation.run import distill
from vddbench.evaluation.students import convnet3d
from vddbench.spec import Task
from vddbench.submissions import submission

CPU = torch.device("cpu")
QUICK = Config(iterations=4, real_per_class=4, optimiser="adam", lr=0.05)


def matching(split: Split, config: Config = QUICK, count: int = 1, seed: int = 0) -> Matching:
    return Matching(split, static_dc.real_stills(split, count, config, seed, CPU), config, seed, CPU)


def images(split: Split, label: int) -> torch.Tensor:
    rows = np.flatnonzero(split.labels == label)
    return static_dc.to_images(random_frames(split, rows, np.random.default_rng(1)), SPEC, CPU)


def test_the_distance_is_one_minus_cosine_summed_over_output_channels() -> None:
    convolution = torch.tensor([[[[3.0, 4.0]]], [[[1.0, 0.0]]]]), torch.tensor([[[[4.0, 3.0]]], [[[0.0, 2.0]]]])
    linear = torch.tensor([[1.0, 1.0], [0.0, 5.0]]), torch.tensor([[-1.0, -1.0], [0.0, 1.0]])
    found = static_dc.distance(*zip(convolution, linear, strict=True))
    # channels of the convolution: 1 - (12 + 12) / (5 * 5) = 0.04 and 1 - 0 = 1; rows of the head: 1 + 1 = 2 and 1 - 1 = 0
    assert found.item() == pytest.approx(3.04, abs=1e-5)


def test_a_channel_without_gradient_counts_as_orthogonal() -> None:
    assert static_dc.distance([torch.zeros(1, 3)], [torch.ones(1, 3)]).item() == 1


def test_weights_are_compared_and_biases_and_norms_are_not(split: Split) -> None:
    net = static_dc.convnet(SPEC, 0, CPU)
    shapes = [tuple(g.shape) for g in static_dc.gradients(net, images(split, 0), 0)]
    assert shapes == [(128, 3, 3, 3), (128, 128, 3, 3), (128, 128, 3, 3), (3, 128 * 2 * 2)]


def test_the_distance_is_zero_when_the_stills_are_the_real_frames(split: Split) -> None:
    net, mine, others = static_dc.convnet(SPEC, 0, CPU), images(split, 0), images(split, 1)
    real = static_dc.gradients(net, mine, 0, differentiable=True)
    rows = 3 * 128 + 3
    assert static_dc.distance(real, static_dc.gradients(net, mine, 0, differentiable=True)) < 1e-4 * rows
    assert static_dc.distance(real, static_dc.gradients(net, others, 0, differentiable=True)) > 0.1 * rows


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_dsa_real_frames_and_stills_are_changed_alike(seed: int, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the distance of stills to themselves stays 0, and that to other frames changes."""
    monkeypatch.setattr(convnet3d, "BF16", False)
    net, rows = static_dc.convnet(SPEC, 0, CPU), 3 * (3 * 128 + 3)
    learner = matching(split, replace(QUICK, dsa=True))
    own, (others, _) = learner.memory.exact().clips[:, 0], learner.real.get(0)
    assert float(learner.match(net, own, np.random.default_rng(seed))) < 1e-3 * rows
    changed = float(learner.match(net, others, np.random.default_rng(seed)))
    assert abs(changed - float(matching(split).match(net, others, np.random.default_rng(seed)))) > 1e-2


def test_real_gradients_in_parts_are_those_of_the_whole_batch(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    net, mine = static_dc.convnet(SPEC, 0, CPU), images(split, 0)
    monkeypatch.setitem(static_dc.FRAMES_AT_ONCE, "cpu", 3)  # 4 frames: 3 and 1
    in_parts = static_dc.gradients(net, mine, 0)
    whole = static_dc.gradients(net, mine, 0, differentiable=True)
    for part, all_at_once in zip(in_parts, whole, strict=True):
        error = (part - all_at_once).norm() / all_at_once.norm()
        assert error < 0.05  # bf16 where the CPU has it


def test_iterations_bring_the_stills_closer_in_networks_never_seen(split: Split) -> None:
    learner = matching(split, seed=1)
    frames, _ = learner.real.get(10_000)

    def distance() -> float:
        """Mean of 4 networks; 1,178 at the start, 1,147 then (2 CPU cores, bf16)."""
        nets = [static_dc.convnet(SPEC, 100 + i, CPU) for i in range(4)]
        return float(np.mean([float(learner.match(net, frames, np.random.default_rng(0))) for net in nets]))

    before = distance()
    losses = [float(learner.step(i)) for i in range(18)]
    assert distance() < 0.99 * before
    assert all(np.isfinite(losses))


def test_the_loops_are_those_published_for_the_number_of_stills(split: Split) -> None:
    found = {count: (m.outer, m.inner) for count in (1, 2) if (m := matching(split, count=count))}
    assert found == {1: (1, 1), 2: (1, 1)}
    assert static_dc.LOOPS[10] == (10, 50) and static_dc.LOOPS[20] == (20, 25)
    set_by_hand = matching(split, Config(real_per_class=2, outer=3, inner=2))
    assert (set_by_hand.outer, set_by_hand.inner) == (3, 2)


def test_between_matching_steps_the_network_is_trained_on_the_stills(split: Split) -> None:
    learner, net = matching(split, Config(real_per_class=2, outer=2, inner=30, batch_train=2)), static_dc.convnet(SPEC, 0, CPU)
    stills, labels = learner.memory.images().detach(), learner.memory.labels
    before = torch.nn.functional.cross_entropy(net(stills), labels)
    learner.train_net(net, np.random.default_rng(0))
    assert torch.nn.functional.cross_entropy(net(stills), labels) < 0.5 * before


def test_every_frame_of_a_video_is_drawn_and_none_of_its_neighbours(split: Split) -> None:
    video = 3  # 7 frames
    rows, offset = np.full(200, video), int(split.offsets[video])
    found = random_frames(split, rows, np.random.default_rng(0))
    own = {split.frames[offset + i].tobytes() for i in range(7)}
    assert {frame.numpy().tobytes() for frame in found} == own


def test_real_frames_are_read_ahead_class_by_class_and_mirrored(split: Split) -> None:
    real = matching(split, Config(real_per_class=8)).real
    frames, labels = real.get(5)
    assert frames.shape == (24, 16, 16, 3) and labels.tolist() == sorted(labels.tolist())
    assert real.ahead is not None and real.ahead[0] == 6
    stored = {frame.tobytes() for frame in split.frames}
    mirrored = [frame.numpy().tobytes() not in stored for frame in frames]
    assert 0 < sum(mirrored) < 24
    assert {frame.flip(1).numpy().tobytes() for frame, m in zip(frames, mirrored, strict=True) if m} <= stored


def test_stills_are_stored_as_learned_within_half_a_step(split: Split) -> None:
    learner = matching(split)
    for i in range(3):
        learner.step(i)
    exact, tensors = learner.exact(), learner.distilled().tensors
    assert tensors["frames"].dtype == torch.uint8 and tensors["labels"].tolist() == [0, 1, 2]
    scale, offset = tensors.get("scale", torch.ones(3)), tensors.get("offset", torch.zeros(3))
    error = (tensors["frames"].float() * scale + offset - exact.clips[:, 0]).abs()
    assert (error <= scale / 2 + 1e-3).all()


def test_a_submission_fits_the_budget_and_the_same_seed_gives_the_same_bytes(tiny: Store, tmp_path: Path) -> None:
    task = Task(dataset="tiny", ipc=1)
    read = submission.read(distill("static_dc", task, 1, tmp_path, preset="smoke", device=CPU), tiny.spec)
    again = static_dc.learner(tiny.train, task, static_dc.PRESETS["smoke"], 1, CPU)
    again.step(0)
    assert all(torch.equal(value, read.tensors[name]) for name, value in again.distilled().tensors.items())
    budget = task.budget_bytes(tiny.spec)
    assert budget is not None and read.payload_bytes <= budget
    assert len(submission.decode(read, tiny.spec)) == 8
    assert read.manifest.distill_clips_read == 8  # 1 iteration x 8 classes x 1 frame


def test_more_stills_than_a_class_has_videos_are_refused(split: Split) -> None:
    with pytest.raises(ValueError, match="class 'ant' of made has 4 train videos, 5 are needed"):
        static_dc.learner(split, Task(dataset="made", ipc=5), QUICK, 0, CPU)
