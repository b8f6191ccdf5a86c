"""One learned frame per clip gets the sum of the gradients of its copies; the layer of sfvd_t is learned after it, alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from tests.builders.submissions import SPEC, TASK
from vddbench.baselines import mtt, sfvd, sfvd_t
from vddbench.data.datasets import miniucf
from vddbench.data.store import Split
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.synthetic_clips import Pixels
from vddbench.spec import Task
from vddbench.submissions.decoders import still, still_and_clip
from vddbench.submissions.payload import num_bytes

pytestmark = pytest.mark.usefixtures("toy_experts")
CPU = torch.device("cpu")
PLAIN = replace(sfvd.PRESETS["smoke"], lr=1.0, momentum=0.0, inner_steps=3, student_lr=0.3)
STAGES = {"iterations": 4, "frame_iterations": 2, "lr": 1.0, "lr_layer": 1.0}
IN_TURN = replace(sfvd_t.PRESETS["smoke"], **STAGES, inner_steps=3, momentum=0.5, student_lr=0.3)


def test_the_gradient_of_the_frame_is_the_sum_of_those_of_its_copies(split: Split) -> None:
    learner = sfvd.learner(split, TASK, PLAIN, 3, CPU)
    clipset = learner.exact()
    copies = mtt.Matching(split, Pixels(clipset.clips, clipset.labels, SPEC, CPU), PLAIN, 3, CPU)
    torch.testing.assert_close(learner.step(0), copies.step(0))
    frame, each = learner.memory.parameters["clips"].grad, copies.memory.parameters["clips"].grad
    assert frame is not None and each is not None and frame.shape[2] == 1 and each.shape[2] == 4
    torch.testing.assert_close(frame, each.sum(2, keepdim=True), rtol=1e-4, atol=1e-6)
    assert float(frame.abs().max()) > 1e-4


def test_sfvd_stores_one_frame_a_clip_and_starts_from_different_videos(split: Split) -> None:
    tensors = sfvd.learner(split, Task(dataset="made", ipc=1), PLAIN, 3, CPU).distilled().tensors
    assert num_bytes(tensors) == 3 * (16 * 16 * 3 + 1)
    decoded = still.decode(tensors, SPEC).clips
    assert torch.equal(decoded[:, 0], decoded[:, -1])
    with pytest.raises(ValueError, match="class 'ant' of made has 4 train videos, 5 are needed; use a smaller ipc"):
        sfvd.learner(split, Task(dataset="made", ipc=5), PLAIN, 3, CPU)


def test_the_frames_are_learned_first_and_then_the_layer_on_frozen_frames(split: Split) -> None:
    learner = sfvd_t.learner(split, TASK, IN_TURN, 3, CPU)
    frames, weight = learner.memory.parameters["clips"], learner.memory.parameters["weight"]
    start = learner.exact().clips
    assert torch.equal(start[:, 0], start[:, -1])  # the layer starts as the frame alone
    history = [(frames.detach().clone(), weight.detach().clone())]
    for iteration in range(4):
        learner.step(iteration)
        history.append((frames.detach().clone(), weight.detach().clone()))
    moved = [(not torch.equal(a[0], b[0]), not torch.equal(a[1], b[1])) for a, b in pairwise(history)]
    assert moved == [(True, False), (True, False), (False, True), (False, True)]
    assert not torch.equal(learner.exact().clips[:, 0], learner.exact().clips[:, -1])


def test_each_stage_has_a_cosine_of_its_own(split: Split) -> None:
    learner = sfvd_t.learner(split, TASK, replace(IN_TURN, iterations=5, frame_iterations=2, final_lr=0.0), 3, CPU)
    rates = []
    for iteration in range(5):
        learner.set_rates(iteration)
        rates.append({group["name"]: group["lr"] for group in learner.optimiser.param_groups})
    assert [one["clips"] for one in rates[:2]] == pytest.approx([1.0, 0.5])
    assert [one["weight"] for one in rates[2:]] == pytest.approx([1.0, 0.75, 0.25])


def test_the_payload_of_sfvd_t_fits_and_decodes_to_what_was_learned(split: Split) -> None:
    learner = sfvd_t.learner(split, TASK, IN_TURN, 3, CPU)
    with torch.no_grad():
        learner.memory.parameters["weight"].add_(0.2)
        learner.memory.parameters["bias"].add_(0.1)
    tensors, budget = learner.distilled().tensors, TASK.budget_bytes(SPEC)
    side = tensors["clips"].shape[2]
    assert tensors["clips"].shape == (3, 4, side, side, 3) and tensors["clips"].dtype == torch.uint8
    larger = 3 * 4 * 3 * (2 * side + 1)  # bytes of clips that are one pixel larger
    assert budget is not None and num_bytes(tensors) <= budget < num_bytes(tensors) + larger + 24
    decoded = still_and_clip.decode(tensors, SPEC)
    assert (decoded.clips - learner.exact().clips).abs().max() < 1.5  # the frames are rounded
    assert decoded.labels.tolist() == [0, 1, 2]


def test_stored_clips_have_the_largest_size_that_fits() -> None:
    task = Task(dataset="miniucf", ipc=1)
    assert sfvd_t.clip_size(task, miniucf.SPEC) == 108
    with pytest.raises(CannotServe, match="no clip of 1 frames fits: use sfvd"):
        sfvd_t.clip_size(task, SPEC.model_copy(update={"frames": 1}))
