"""Stills and motions make clips as 2312.00362 says, cost the bytes it counts, and are learned as the plain methods are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders.stores import SIZE
from tests.builders.submissions import SPEC, TASK, written
from vddbench.baselines import dm_sdd, frepo_sdd, mtt_sdd
from vddbench.baselines._slots import slots_memory
from vddbench.data.datasets import miniucf, movingshapes
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.distillation.static_dynamic import StaticDynamic, check_fits, eight_bits, hallucinator_start, real_motions
from vddbench.distillation.synthetic_clips import real_start
from vddbench.lookup import load
from vddbench.spec import DatasetSpec, Task
from vddbench.submissions import submission
from vddbench.submissions.decoders import static_dynamic
from vddbench.submissions.tensors import MAX_VALUE

CPU = torch.device("cpu")
Tensors = dict[str, torch.Tensor]
METHODS = ["dm_sdd", "mtt_sdd", "frepo_sdd"]
TASK_OF_TINY = Task(dataset="tiny", ipc=1)
IDENTITY = hallucinator_start("identity", np.random.default_rng(0))


def payload(num_slots: int = 3, stills: int = 2, motions: int = 2) -> Tensors:
    """Valid tensors of noise; the hallucinator passes stills through and adds a tenth of the motion."""
    draw = torch.Generator().manual_seed(0)
    return {
        "statics": torch.randint(0, 256, (num_slots, stills, 16, 16, 3), dtype=torch.uint8, generator=draw),
        "dynamics": torch.randn((num_slots, motions, 4, 16, 16, 1), generator=draw),
        "hallucinator_weight": IDENTITY[0].clone(),
        "hallucinator_bias": IDENTITY[1].clone(),
        "labels": torch.arange(3).repeat_interleave(num_slots * stills * motions // 3),
    }


def num_bytes(tensors: Tensors) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())


def memory(start: str = "identity", ipc: int = 1, stills: int = 2, motions: int = 2, seed: int = 0) -> StaticDynamic:
    images = torch.randn((3 * ipc, stills, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    return StaticDynamic(images, motions, start, SPEC, seed, CPU)


# --- the decoder ------------------------------------------------------------------------------------------------------


def test_every_pair_of_a_slot_is_decoded_slot_by_slot_still_by_still() -> None:
    tensors = payload(stills=2, motions=3)
    decoded = static_dynamic.decode(tensors, SPEC)
    assert decoded.clips.shape == (18, *SPEC.clip_shape) and decoded.clips.dtype == torch.float32
    assert decoded.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    std = torch.tensor(SPEC.std) * 255
    for n, (slot, p, q) in enumerate(np.ndindex(3, 2, 3)):
        expected = tensors["statics"][slot, p].float() + 0.1 * tensors["dynamics"][slot, q] * std
        torch.testing.assert_close(decoded.clips[n], expected, atol=1e-3, rtol=0)


def test_the_hallucinator_is_a_zero_padded_3d_convolution_of_the_still_and_the_motion() -> None:
    tensors = payload(1, 1, 1)
    tensors["labels"] = torch.tensor([1])
    tensors["hallucinator_weight"] = torch.randn((3, 4, 3, 3, 3), generator=torch.Generator().manual_seed(2))
    tensors["hallucinator_bias"] = torch.tensor([0.1, 0.2, 0.3])
    decoded = static_dynamic.decode(tensors, SPEC).clips[0]
    mean, std = np.array(SPEC.mean) * 255, np.array(SPEC.std) * 255
    still = (tensors["statics"][0, 0].numpy() - mean) / std
    padded = np.zeros((6, 18, 18, 4))
    padded[1:-1, 1:-1, 1:-1, :3], padded[1:-1, 1:-1, 1:-1, 3:] = still, tensors["dynamics"][0, 0].numpy()
    weight = tensors["hallucinator_weight"].numpy()
    for t, y, x in ((0, 0, 0), (1, 7, 9), (3, 15, 15)):
        window = padded[t : t + 3, y : y + 3, x : x + 3]
        expected = np.einsum("tyxc,octyx->o", window, weight) + tensors["hallucinator_bias"].numpy()
        np.testing.assert_allclose(decoded[t, y, x], expected * std + mean, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_stills_and_motions_have_scales_and_offsets_of_their_own(dtype: torch.dtype) -> None:
    plain = payload()
    stored = {**plain, "statics": plain["statics"].to(dtype), "dynamics": (plain["dynamics"] * 10).clamp(0, 40).to(dtype)}
    affine = {
        "static_scale": torch.tensor([0.5, 1, 2]),
        "static_offset": torch.tensor([1.0, 0, -1]),
        "dynamic_scale": torch.tensor([0.1]),
        "dynamic_offset": torch.tensor([-2.0]),
    }
    before = {name: value.clone() for name, value in stored.items()}
    found = static_dynamic.decode({**stored, **affine}, SPEC).clips
    meant = {
        **plain,
        "statics": stored["statics"].float() * affine["static_scale"] + affine["static_offset"],
        "dynamics": stored["dynamics"].float() * 0.1 - 2,
    }
    torch.testing.assert_close(found, static_dynamic.decode(meant, SPEC).clips)
    assert all(torch.equal(stored[name], value) for name, value in before.items())


def test_a_valid_payload_is_a_submission(tmp_path: Path) -> None:
    tensors = payload()
    tensors["dynamics"], scale, offset = eight_bits(tensors["dynamics"])
    tensors |= {"dynamic_scale": scale, "dynamic_offset": offset, "labels": tensors["labels"].to(torch.uint8)}
    with pytest.raises(ValueError, match="over the budget"):  # clips of 4 frames: 2 stills and 2 motions are more than one
        written(tmp_path, tensors, decoder="static_dynamic")
    path = written(tmp_path, tensors, decoder="static_dynamic", task="tiny-ipc5")
    assert len(submission.decode(submission.read(path, SPEC), SPEC)) == 12


Change = Callable[[torch.Tensor], torch.Tensor]
REFUSED: list[tuple[str, Change, str]] = [
    ("statics", lambda t: t[:, 0], r"tensor 'statics' has shape \[3, 16, 16, 3\]; allowed: \[S, P, 16, 16, 3\]"),
    ("statics", lambda t: t[:0], "tensor 'statics' has shape .* every dimension at least 1"),
    ("statics", lambda t: t.to(torch.complex64), "tensor 'statics' has dtype complex64; allowed: uint8, float16, float32"),
    ("dynamics", lambda t: t[:2], r"tensor 'dynamics' has shape \[2, 2, 4, 16, 16, 1\]; allowed: .* with S=3, P=2"),
    ("dynamics", lambda t: t[:, :, :3], "tensor 'dynamics' has shape"),
    ("dynamics", lambda t: t.expand(-1, -1, -1, -1, -1, 3), "tensor 'dynamics' has shape"),
    ("dynamics", lambda t: t * float("nan"), r"tensor 'dynamics' holds nan \(first in row 0\)"),
    ("hallucinator_weight", lambda t: t[:, :3], r"'hallucinator_weight' has shape .* allowed: \[3, 4, 3, 3, 3\]"),
    ("hallucinator_weight", lambda t: t.half(), "'hallucinator_weight' has dtype float16; allowed: float32"),
    ("hallucinator_weight", lambda t: t / 0, "'hallucinator_weight' holds"),
    ("hallucinator_weight", lambda t: t * 1e9, f"decoded values reach from .* allowed: -{MAX_VALUE:g} to {MAX_VALUE:g}"),
    ("hallucinator_weight", lambda t: t * 3e38, "decoded values reach from"),
    ("hallucinator_bias", lambda t: t[:2], "'hallucinator_bias' has shape"),
    ("labels", lambda t: t[::4], "'labels' has 3 rows; allowed: one per decoded clip, 3 slots x 2 statics x 2 dynamics = 12"),
    ("labels", lambda t: t + 1, "clip 8 has label 3; allowed: 0 to 2"),
    ("labels", lambda t: t.float(), "expected int; allowed: class indices"),
]


@pytest.mark.parametrize(("name", "change", "message"), REFUSED)
def test_a_bad_tensor_is_refused_by_name(name: str, change: Change, message: str) -> None:
    tensors = payload()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        static_dynamic.decode({**tensors, name: change(tensors[name])}, SPEC)


@pytest.mark.parametrize("name", ["statics", "dynamics", "hallucinator_weight", "hallucinator_bias", "labels"])
def test_a_missing_tensor_and_an_unknown_one_are_named_at_once(name: str) -> None:
    tensors = payload()
    tensors["extra"] = tensors.pop(name)
    with pytest.raises(ValueError, match=f"'extra' is unknown.*(?s:.)*'{name}' is missing; it must be"):
        static_dynamic.decode(tensors, SPEC)


@pytest.mark.parametrize(("name", "kind"), [("static_scale", "statics"), ("dynamic_offset", "dynamics")])
def test_half_an_affine_and_values_far_out_are_refused_with_the_tensor(name: str, kind: str) -> None:
    one = torch.ones(3 if kind == "statics" else 1)
    with pytest.raises(ValueError, match=f"tensor '{kind}': .* is stored alone"):
        static_dynamic.decode({**payload(), name: one}, SPEC)
    prefix = name.partition("_")[0]
    far = {f"{prefix}_scale": one * 1e30, f"{prefix}_offset": one}
    with pytest.raises(ValueError, match=f"tensor '{kind}': pixel values reach"):
        static_dynamic.decode({**payload(), **far}, SPEC)


def test_a_slot_makes_a_bounded_number_of_clips() -> None:
    with pytest.raises(ValueError, match="make 13 x 5 = 65 clips per slot; allowed: 64"):
        static_dynamic.decode({**payload(3, 13, 5)}, SPEC)


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_miniucf_ipc1_in_fp32_has_the_bytes_of_the_paper() -> None:
    spec = miniucf.SPEC
    frames, size = spec.frames, spec.size
    meta = torch.device("meta")
    tensors = {
        "statics": torch.empty((50, 2, size, size, 3), device=meta),
        "dynamics": torch.empty((50, 2, frames, size, size, 1), device=meta),
        "hallucinator_weight": IDENTITY[0],
        "hallucinator_bias": IDENTITY[1],
    }
    assert sum(t.numel() for name, t in tensors.items() if name.startswith("hallucinator")) == 327
    assert num_bytes(tensors) == 95_335_708


def small(num_classes: int) -> DatasetSpec:
    names = tuple(f"c{i:02}" for i in range(num_classes))
    return movingshapes.SPEC.model_copy(update={"class_names": names})  # 8 x 64 x 64


@pytest.mark.parametrize("spec", [small(8), small(10), small(26), miniucf.SPEC], ids=["8", "10", "26", "miniucf"])
def test_two_stills_and_two_motions_a_slot_fit_the_budget_in_uint8(spec: DatasetSpec) -> None:
    for ipc in (1, 5, 10):
        check_fits(spec, Task(dataset="any", ipc=ipc), 2, 2)
        check_fits(spec, Task(dataset="any", ipc=ipc), 1, 1)
    with pytest.raises(ValueError, match=r"3 statics and 3 dynamics a slot need .* any-ipc1 allows .*; use fewer"):
        check_fits(spec, Task(dataset="any", ipc=1), 3, 3)


def test_what_is_checked_is_what_is_stored() -> None:
    stored = num_bytes(memory().tensors())
    allowed = TASK.budget_bytes(SPEC)
    with pytest.raises(ValueError, match=f"need {stored:,} bytes, tiny-ipc1 allows {allowed:,}"):
        check_fits(SPEC, TASK, 2, 2)


# --- the memory -------------------------------------------------------------------------------------------------------


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
    stored, scale, offset = eight_bits(torch.full((2, 2), 0.75))
    assert torch.equal(stored.float() * scale + offset, torch.full((2, 2), 0.75))


def test_every_clip_is_what_a_student_sees_and_the_pairs_that_are_drawn_are_among_them() -> None:
    learned = memory("default", stills=2, motions=3)
    clips = learned.every_clip()
    seen = learned.exact().clips
    colours = torch.tensor(SPEC.mean) * 255, torch.tensor(SPEC.std) * 255
    torch.testing.assert_close(clips.detach().movedim(1, -1) * colours[1] + colours[0], seen, atol=1e-3, rtol=1e-4)
    for slot, clip in enumerate(learned.clips(np.random.default_rng(0))):
        assert any(torch.equal(clip, each) for each in clips[6 * slot : 6 * slot + 6])


# --- the methods ------------------------------------------------------------------------------------------------------


def test_the_settings_are_those_of_the_paper() -> None:
    dm, mtt, frepo = dm_sdd.Config(), mtt_sdd.Config(), frepo_sdd.Config()
    assert (dm.iterations, dm.momentum, dm.lr, dm.lr_hallucinator) == (5000, 0.95, 1e-4, 1e-5)
    assert dm_sdd.CONFIGS["miniucf-ipc5"].rates() == {
        "dynamics": 1e3, "hallucinator.weight": 1e-6, "hallucinator.bias": 1e-6
    }  # fmt: skip
    assert (mtt.iterations, mtt.lr, mtt.lr_hallucinator, mtt.inner_steps) == (10_000, 1e4, 1e-3, 10)
    assert (mtt.momentum, mtt.student_lr_momentum) == (0.95, 0.9)
    five = mtt_sdd.CONFIGS["miniucf-ipc5"]
    assert (five.inner_steps, five.inner_batch, five.lr_of_student_lr, five.momentum) == (5, 128, 0.0, 0.95)
    assert (frepo.iterations, frepo.lr, frepo.lr_hallucinator) == (10_000, 1e2, 1e-3)
    ends = {name: rate * frepo.floors()[name] for name, rate in frepo.rates().items()}
    assert list(ends.values()) == pytest.approx([1e-4] * 3)  # a tenth of the hallucinator's rate, for all
    assert [(c.stills_per_slot, c.dynamics_per_slot) for c in (dm, mtt, frepo)] == [(2, 2), (2, 2), (1, 1)]
    for config in (dm, mtt, frepo):
        assert all(isinstance(value, int | float | str) for value in asdict(config).values())  # flat, for the manifest


def test_each_inner_step_of_mtt_sdd_draws_a_pair_of_each_slot_and_of_large_sets_passes_in_parts(tiny: Store) -> None:
    few = tiny.train.only(tiny.train.index.groupby("label").cumcount().to_numpy() < 2)
    config = replace(mtt_sdd.PRESETS["smoke"], inner_steps=6)
    whole, parts = (mtt_sdd.learner(few, TASK_OF_TINY, c, 0, CPU) for c in (config, replace(config, inner_batch=5)))
    clips, labels, batches = whole.draw(np.random.default_rng(0))
    assert clips.shape[0] == len(labels) == 4 * 8 and labels.tolist() == [label for label in range(8) for _ in range(4)]
    drawn = [rows.sort().values for rows in batches if rows is not None]
    assert len(drawn) == 6 and all(torch.equal(rows // 4, torch.arange(8)) for rows in drawn)  # each slot once a step
    assert len({tuple((rows % 4).tolist()) for rows in drawn}) > 1  # and not the same pairs
    slots = [rows // 4 for rows in parts.draw(np.random.default_rng(0)).batches if rows is not None]
    assert [len(taken) for taken in slots] == [5, 3] * 3
    assert all(torch.cat(slots[i : i + 2]).sort().values.tolist() == list(range(8)) for i in (0, 2, 4))  # passes over all


@pytest.mark.parametrize("method", METHODS)
def test_a_submission_fits_the_budget_and_a_resumed_run_gives_the_same_bytes(method: str, tiny: Store, tmp_path: Path) -> None:
    task, baseline = Task(dataset="tiny", ipc=1), load("baseline", method)
    smoke = baseline.PRESETS["smoke"]
    read = submission.read(distill(method, task, 1, tmp_path, preset="smoke", device=CPU), tiny.spec)
    first, second = (baseline.learner(tiny.train, task, smoke, 1, CPU) for _ in range(2))
    before = first.distilled()
    assert before.chosen["static_clips_read"] == 8 == read.manifest.config["static_clips_read"]
    assert read.manifest.distill_clips_read is not None and read.manifest.distill_clips_read > 8  # the stills' and its own
    first.step(0)
    second.restore({name: value.clone() for name, value in first.state().items()})
    second.step(1)
    resumed = second.distilled().tensors
    assert resumed.keys() == read.tensors.keys()
    assert all(torch.equal(value, read.tensors[name]) for name, value in resumed.items())
    assert not torch.equal(resumed["hallucinator_weight"], before.tensors["hallucinator_weight"])
    budget = task.budget_bytes(tiny.spec)
    assert budget is not None and read.payload_bytes <= budget
    decoded = submission.decode(read, tiny.spec)
    assert torch.equal(decoded.labels.bincount(), torch.full((8,), 1 if method == "frepo_sdd" else 4))


@pytest.mark.parametrize("method", METHODS)
def test_a_task_without_a_budget_and_too_few_videos_are_refused(method: str, tiny: Store) -> None:
    baseline = load("baseline", method)
    config = baseline.PRESETS["smoke"]
    with pytest.raises(ValueError, match=f"{method} needs a budget; tiny-full has none"):
        baseline.learner(tiny.train, Task(dataset="tiny", ipc=None), config, 0, CPU)
    says = (
        f"10 slots of {config.stills_per_slot} stills a class, each of another video, and a class of tiny has 8; use a smaller"
    )
    with pytest.raises(ValueError, match=says):
        baseline.learner(tiny.train, Task(dataset="tiny", ipc=10), config, 0, CPU)


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


def test_a_fast_start_shows_the_mean_clips(tiny: Store) -> None:
    """A motion on the still of its own videos: but for colour, which motions have none of, the mean of these videos."""
    config = replace(dm_sdd.PRESETS["fast"], static_iterations=1, static_lr=0.0, start_mean_of=3)
    memory = slots_memory(tiny.train, TASK_OF_TINY, "dm_sdd", config, 0, CPU)
    means, _ = real_start(tiny.train, 2, np.random.default_rng(0), 3)
    shown = memory.exact().clips.reshape(8, 2, 2, *tiny.spec.clip_shape)
    own = torch.stack([shown[:, i, i] for i in range(2)], 1).flatten(0, 1)
    assert (own.mean((1, 4)) - means.mean((1, 4))).abs().max() < 0.01  # the still of all colours
    assert (own.mean(4) - means.mean(4)).abs().max() < 8  # grey levels; the motions' colours are weighed by std
