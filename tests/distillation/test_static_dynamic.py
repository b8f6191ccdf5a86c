"""The memory of stills and motions: what it decodes to, what it stores, and what of it is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.builders.stores import SIZE
from tests.builders.submissions import SPEC, TASK
from vddbench.baselines import dm_sdd
from vddbench.data.datasets import miniucf, movingshapes
from vddbench.data.store import Store
from vddbench.distillation.static_dynamic import StaticDynamic, check_fits, hallucinator_start, real_motions
from vddbench.distillation.synthetic_clips import real_start
from vddbench.spec import DatasetSpec, Task
from vddbench.submissions.decoders import static_dynamic
from vddbench.submissions.quantise import stored_motions

CPU = torch.device("cpu")


def num_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())


def memory(start: str = "identity", ipc: int = 1, stills: int = 2, motions: int = 2, seed: int = 0) -> StaticDynamic:
    images = torch.randn((3 * ipc, stills, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    return StaticDynamic(images, motions, start, SPEC, seed, CPU)


def small(num_classes: int) -> DatasetSpec:
    names = tuple(f"c{i:02}" for i in range(num_classes))
    return movingshapes.SPEC.model_copy(update={"class_names": names})  # 8 x 64 x 64


@pytest.mark.parametrize("spec", [small(8), small(10), small(26), miniucf.SPEC], ids=["8", "10", "26", "miniucf"])
def test_two_stills_and_two_motions_a_slot_fit_the_budget_in_uint8(spec: DatasetSpec) -> None:
    for ipc in (1, 5, 10):
        check_fits(spec, Task(dataset="any", ipc=ipc), 2, 2)
        check_fits(spec, Task(dataset="any", ipc=ipc), 1, 1)
    with pytest.raises(ValueError, match=r"3 statics and 3 dynamics per slot need .* any-ipc1 allows .*; use fewer"):
        check_fits(spec, Task(dataset="any", ipc=1), 3, 3)


def test_what_is_checked_is_what_is_stored() -> None:
    stored = num_bytes(memory().tensors())
    allowed = TASK.budget_bytes(SPEC)
    with pytest.raises(ValueError, match=f"need {stored:,} bytes, tiny-ipc1 allows {allowed:,}"):
        check_fits(SPEC, TASK, 2, 2)


@pytest.mark.parametrize("start", ["default", "identity"])
def test_the_payload_decodes_to_the_clips_that_were_learned(start: str) -> None:
    mine = memory(start, ipc=2, stills=2, motions=3)
    exact, tensors = mine.exact(), mine.tensors()
    assert exact.labels.tolist() == [label for label in range(3) for _ in range(2 * 2 * 3)]
    decoded = static_dynamic.decode(tensors, SPEC)
    assert torch.equal(decoded.labels, exact.labels)
    assert (decoded.clips - exact.clips).square().mean().sqrt() < 1  # grey level
    statics, motions, weight, bias = mine._stored()
    unrounded = {"statics": statics, "dynamics": motions, "hallucinator_weight": weight, "hallucinator_bias": bias}
    again = static_dynamic.decode({**unrounded, "labels": exact.labels}, SPEC)
    assert torch.equal(again.clips, exact.clips)


def test_learning_draws_one_pair_a_slot_out_of_those_a_student_sees() -> None:
    mine = memory("default", ipc=2, stills=2, motions=3)
    mean, std = torch.tensor(SPEC.mean) * 255, torch.tensor(SPEC.std) * 255
    pairs = ((mine.exact().clips - mean) / std).movedim(-1, 1).unflatten(0, (6, 6))  # slots, pairs
    seen = set()
    for seed in range(60):
        drawn = mine.clips(np.random.default_rng(seed))
        assert drawn.shape == (6, 3, *SPEC.clip_shape[:3])
        distance = (drawn[:, None] - pairs).abs().amax((2, 3, 4, 5))
        assert (distance.amin(1) < 1e-4).all()
        seen |= set(enumerate(distance.argmin(1).tolist()))
    assert len(seen) == 36
    assert mine.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_motions_and_hallucinator_learn_and_stills_are_frozen() -> None:
    mine = memory("default")
    assert mine.parameters.keys() == dm_sdd.Config().rates().keys()
    mine.clips(np.random.default_rng(0)).square().sum().backward()  # type: ignore[no-untyped-call]
    assert not mine.statics.requires_grad
    for value in mine.parameters.values():
        assert value.is_leaf and value.grad is not None and value.grad.abs().sum() > 0


def test_motions_begin_as_noise_of_unit_variance_and_follow_from_the_seed() -> None:
    first, same, other = memory(), memory(), memory(seed=1)
    motions = first.parameters["dynamics"].detach()
    assert motions.shape == (3, 2, 4, 1, 16, 16)
    assert abs(float(motions.mean())) < 0.05 and abs(float(motions.std()) - 1) < 0.05
    assert torch.equal(motions, same.parameters["dynamics"])
    assert not torch.equal(motions, other.parameters["dynamics"])


def test_the_hallucinator_starts_as_pytorch_would_or_as_identity() -> None:
    weight, bias = hallucinator_start("default", np.random.default_rng(0))
    bound = (4 * 27) ** -0.5
    assert weight.shape == (3, 4, 3, 3, 3) and 0.9 * bound < weight.abs().max() <= bound and bias.abs().max() <= bound
    with pytest.raises(ValueError, match="hallucinator 'none' is unknown; allowed: default, identity"):
        hallucinator_start("none", np.random.default_rng(0))


def test_motions_that_are_all_equal_are_stored_exactly() -> None:
    stored, scale, offset = stored_motions(torch.full((2, 2), 0.75)).values()
    assert torch.equal(stored.float() * scale + offset, torch.full((2, 2), 0.75))


def test_every_clip_is_what_a_student_sees_and_the_pairs_that_are_drawn_are_among_them() -> None:
    learned = memory("default", stills=2, motions=3)
    clips = learned.every_clip()
    seen = learned.exact().clips
    colours = torch.tensor(SPEC.mean) * 255, torch.tensor(SPEC.std) * 255
    torch.testing.assert_close(clips.detach().movedim(1, -1) * colours[1] + colours[0], seen, atol=1e-3, rtol=1e-4)
    for slot, clip in enumerate(learned.clips(np.random.default_rng(0))):
        assert any(torch.equal(clip, each) for each in clips[6 * slot : 6 * slot + 6])


def test_real_motions_move_a_still_as_the_mean_clip_moves(tiny: Store) -> None:
    spec, colours = tiny.spec, torch.tensor(tiny.spec.std) * 255
    motions = real_motions(tiny.train, 1, 2, 3, seed=0)
    assert motions.shape == (8, 2, 8, 1, SIZE, SIZE)
    means, labels = real_start(tiny.train, 2, np.random.default_rng(0), 3)  # two means of 3 videos a class
    assert labels.tolist() == [label for label in range(8) for _ in range(2)]
    grey = (means / colours).mean(-1)  # normalised up to a constant
    memory = StaticDynamic(torch.zeros(8, 2, 3, SIZE, SIZE), 2, "identity", spec, 0, CPU, start=motions)
    shown = ((memory.exact().clips - torch.tensor(spec.mean) * 255) / colours).reshape(8, 2, 2, 8, SIZE, SIZE, 3)
    wanted = (grey - grey.mean(1, keepdim=True)).reshape(8, 1, 2, 8, SIZE, SIZE, 1).expand(shown.shape)  # with either still
    torch.testing.assert_close(shown, wanted, atol=1e-4, rtol=0)
