"""The replay of SDD's released protocol has each fault that the released code has, and mending a fault removes it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from tests.builders.commands import call
from tests.builders.records import GOOD
from tests.builders.students import killed_after, use_linear_student
from tests.builders.submissions import SPEC, TASK, clips
from vddbench.data.store import Split, Store
from vddbench.evaluation import sdd_predict
from vddbench.evaluation.evaluate import evaluate
from vddbench.evaluation.hardware import Hardware
from vddbench.evaluation.predict import predict
from vddbench.evaluation.ready import open_ready
from vddbench.evaluation.referee import Referee
from vddbench.evaluation.resume import Checkpoint
from vddbench.evaluation.sdd import Replay, ScaledGradient, learned_lr, pairs_per_slot
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.students._standardise import Standardise
from vddbench.evaluation.train import to_input
from vddbench.protocol import MENDED, SDD, Sdd
from vddbench.records.files import read_record
from vddbench.spec import ClipSet, Manifest, Submission

CPU = torch.device("cpu")
FP32 = Hardware(device=CPU, precision="fp32")
FEW = Sdd(epochs=4)


class Weight(torch.nn.Module):
    """Logits are w * mean of the clip * class index: its training can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * x.mean((1, 2, 3, 4))[:, None] * torch.arange(3.0)


WEIGHT: Any = SimpleNamespace(RECIPE=convnet3d.RECIPE, build=lambda shape, classes: Weight())


def replay(protocol: Sdd = FEW, count: int = 6, student: Any = WEIGHT, **fields: Any) -> Replay:
    labels = torch.arange(count) % 3
    brighter = (clips(count) // 4 + 60 * labels[:, None, None, None, None]).to(torch.uint8)
    clipset = ClipSet(clips=brighter, labels=labels)
    return Replay(task=TASK, spec=SPEC, clipset=clipset, student=student, protocol=protocol, **fields)


# --- training --------------------------------------------------------------------------------------------------------


def test_as_released_a_set_of_one_batch_gets_501_updates_and_its_rate_drops_after_the_252nd() -> None:
    released = replay(SDD, 50)
    assert (released.steps, released.first_slow_step, released.clip_steps) == (501, 252, 501 * 50)
    assert replay(SDD.mended("one_epoch_more"), 50).steps == 500
    assert replay(SDD.mended("length"), 50).steps == TASK.student_steps(SPEC)


def test_an_epoch_takes_every_clip_once_in_batches_of_256_and_a_rest() -> None:
    batches = list(replay(count=600).rows(seed=0))
    assert [len(rows) for rows in batches] == [256, 256, 88] * 5
    assert all(sorted(np.concatenate(batches[i : i + 3])) == list(range(600)) for i in range(0, 15, 3))
    assert not np.array_equal(batches[0], batches[3]) and replay(count=600).steps == 15


def by_hand(protocol: Sdd, lr: float, new_optimiser: bool) -> float:
    """`w` after full-batch training, with an optimiser that is created again, or not, when the rate drops."""
    model, one = Weight(), replay(protocol)
    x = to_input(one.clipset.clips, SPEC, CPU)
    options: dict[str, Any] = {"momentum": 0.9, "weight_decay": 5e-4}
    sgd = torch.optim.SGD(model.parameters(), lr, **options)
    for epoch in range(one.epochs):
        if epoch == protocol.epochs // 2 + 2:  # the first epoch after number epochs // 2 + 1
            sgd.param_groups[0]["lr"] = lr / 10
            sgd = torch.optim.SGD(model.parameters(), lr / 10, **options) if new_optimiser else sgd
        sgd.zero_grad()
        F.cross_entropy(model((x - x.mean()) / x.std()), one.clipset.labels).backward()
        sgd.step()
    return model.w.item()


@pytest.mark.parametrize(("protocol", "is_lost"), [(FEW, True), (FEW.mended("momentum_at_drop"), False)])
def test_the_rate_drops_by_a_new_optimiser_that_has_lost_the_momentum(protocol: Sdd, is_lost: bool) -> None:
    one = replay(protocol, learned_lr=0.5)
    ends = [by_hand(protocol, 0.5, new) for new in (is_lost, not is_lost)]
    assert one.train(0, FP32).model.w.item() == pytest.approx(ends[0], abs=1e-4)
    assert abs(ends[0] - ends[1]) > 1e-3


def test_the_learned_rate_is_used_if_there_is_one_and_fixing_the_rate_ignores_it() -> None:
    rates = [replay(FEW, learned_lr=0.5), replay(FEW), replay(FEW.mended("lr"), learned_lr=0.5)]
    assert [one.lr for one in rates] == [0.5, 0.01, 0.01]


@pytest.mark.parametrize("value", [0, -1.0, 2.0, True, "fast"])
def test_a_learned_rate_that_is_no_rate_is_refused_before_anything_is_trained(value: Any, tiny_random: Path) -> None:
    manifest = open_ready(tiny_random).submission.manifest
    assert learned_lr(manifest) is None
    with pytest.raises(ValueError, match="allows a number above 0, at most 1"):
        learned_lr(manifest.model_copy(update={"config": {"learned_lr": value}}))


def test_a_static_dynamic_slot_gives_one_random_pair_in_each_epoch() -> None:
    pairs, slots = 4, 3
    drawn = list(replay(Sdd(epochs=99), slots * pairs, pairs=pairs).rows(seed=0))
    assert [sorted(rows // pairs) for rows in drawn] == [[0, 1, 2]] * 100
    assert np.unique(np.concatenate(drawn)).tolist() == list(range(12))
    assert sorted(next(replay(FEW.mended("pairs"), slots * pairs, pairs=pairs).rows(seed=0))) == list(range(12))


def test_the_pairs_of_a_slot_follow_from_its_tensors() -> None:
    manifest = Manifest(method="m", task=TASK, decoder="static_dynamic", labels="hard", sha256="0" * 64)
    tensors = {"statics": torch.zeros(3, 2, 16, 16, 3), "dynamics": torch.zeros(3, 3, 4, 16, 16, 1)}
    assert pairs_per_slot(Submission(path=Path(), manifest=manifest, tensors=tensors)) == 6
    pixels = manifest.model_copy(update={"decoder": "pixels"})
    assert pairs_per_slot(Submission(path=Path(), manifest=pixels, tensors={})) == 1


def test_a_batch_is_scaled_as_a_whole_also_in_micro_batches() -> None:
    one = replay(count=130)
    x = to_input(one.clipset.clips, SPEC, CPU)
    mean, std = one.scaling(one.clipset.clips, CPU)
    assert (mean.item(), std.item()) == pytest.approx((x.mean().item(), x.std().item()), rel=1e-5)
    gradients = []
    for micro_batch in (130, 30):
        model = Weight()
        ScaledGradient(one, model, FP32, micro_batch)(one.clipset.clips, one.clipset.labels)
        assert model.w.grad is not None
        gradients.append(model.w.grad.item())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)


def test_v3s_layer_that_scales_clips_is_taken_out_and_mending_the_scaling_puts_it_back() -> None:
    spec = SPEC.model_copy(update={"frames": 8, "size": 44})
    for protocol, layers in ((SDD, 0), (SDD.mended("scale"), 1)):
        network = replace(replay(protocol, student=convnet3d), spec=spec).network(0, CPU)
        assert sum(isinstance(layer, Standardise) for layer in network.modules()) == layers


@pytest.mark.parametrize("number", [2, 4])  # the rate drops, and the momentum is lost, after 4
def test_a_resumed_student_is_the_same_to_the_bit(number: int, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "seed0.unfinished", {})
    with killed_after(number):
        replay().train(0, FP32, Session(checkpoint))
    resumed = replay().train(0, FP32, Session(checkpoint))
    assert torch.equal(resumed.model.w, replay().train(0, FP32).model.w)


def test_with_every_fault_mended_training_is_that_of_v3_to_the_bit() -> None:
    mended = replay(FEW.mended(*MENDED), 30)
    v3 = Referee(task=TASK, spec=SPEC, clipset=mended.clipset, student=WEIGHT)
    assert torch.equal(mended.train(0, FP32).model.w, v3.train(0, FP32).model.w)
    assert (mended.steps, mended.clip_steps) == (v3.steps, v3.clip_steps)


# --- test ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unsorted(tiny: Store) -> Split:
    """The test videos in random order."""
    test = tiny.test
    order = np.random.default_rng(0).permutation(len(test))
    return replace(test, index=test.index.iloc[order].reset_index(drop=True))


class Bright(torch.nn.Module):
    """Logits that depend on what the batch scaling does to a clip."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 5 * x[:, :, 0, 20:28, 20:28].mean((1, 2, 3))[:, None] * torch.linspace(-1, 1, 8)


def asked(split: Split, protocol: Sdd = SDD, seed: int = 0, see: Callable[[torch.Tensor], Any] = len) -> Any:
    """The answers of `Bright`. see: is given every batch before it is scaled."""
    clipset = ClipSet(clips=torch.zeros(8, *split.spec.clip_shape), labels=torch.arange(8))
    one = Replay(task=TASK, spec=split.spec, clipset=clipset, student=WEIGHT, protocol=protocol)
    standardise = Standardise() if protocol.scale == "clip" else torch.nn.Identity()
    model = torch.nn.Sequential(standardise, Bright())

    def inputs(clips: torch.Tensor) -> torch.Tensor:
        see(clips)
        return one.inputs(clips, CPU)

    return sdd_predict.predict(model, split, seed, protocol, inputs)


def test_test_batches_have_64_clips_sorted_by_class_without_padding(unsorted: Split) -> None:
    assert SDD.test_batch == 64
    first_pixels = {int(split_clip.sum()): int(label) for split_clip, label in batch_of(unsorted)}
    protocol = Sdd(test_batch=10, test_start="even", test_flip=0.0, passes=1)
    seen: list[torch.Tensor] = []
    asked(unsorted, protocol, see=seen.append)
    assert [len(batch) for batch in seen[:4]] == [10, 10, 10, 2]
    labels = [first_pixels[int(clip.sum())] for batch in seen[:4] for clip in batch]
    assert labels == sorted(unsorted.labels)
    seen.clear()
    asked(unsorted, protocol.mended("test_order"), see=seen.append)
    assert [first_pixels[int(clip.sum())] for batch in seen[:4] for clip in batch] != labels


def batch_of(split: Split) -> Any:
    """(first clip, label) of every video."""
    videos = np.arange(len(split))
    return zip(split.clips(videos, np.zeros_like(videos)).float(), split.labels, strict=True)


@pytest.mark.parametrize(("faults", "is_mended"), [((), False), (("scale",), True)])
def test_scaling_by_batch_makes_a_score_depend_on_the_batch_size_and_the_order(
    faults: tuple[str, ...], is_mended: bool, unsorted: Split
) -> None:
    eight = SDD.mended(*faults).model_copy(update={"test_batch": 8})
    usual = asked(unsorted, eight).true_probability
    for other in (eight.mended("test_order"), eight.model_copy(update={"test_batch": 5})):
        assert np.allclose(asked(unsorted, other).true_probability, usual, atol=1e-5) == is_mended


def test_every_pass_draws_starts_and_mirrors_half_of_the_clips_by_the_seed_of_the_student(unsorted: Split) -> None:
    def passes(protocol: Sdd, seed: int) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []
        asked(unsorted, protocol, seed, seen.append)
        assert len(seen) == 4  # three passes, and the centre clips
        return seen

    first, again, other = passes(SDD, 0), passes(SDD, 0), passes(SDD, 1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    drawn = [*first[:3], *other[:3]]
    assert not any(torch.equal(drawn[i], drawn[j]) for i in range(6) for j in range(i))
    assert torch.equal(first[3], other[3])
    plain = passes(SDD.mended("test_flip"), 0)
    mirrored = torch.cat([(one != two).flatten(1).any(1) for one, two in zip(first[:3], plain[:3], strict=True)])
    assert 0.3 < mirrored.float().mean() < 0.7
    assert torch.equal(first[0][mirrored[:32]], plain[0][mirrored[:32]].flip(3))
    order = np.argsort(unsorted.labels, kind="stable")
    even = passes(SDD.mended("test_flip", "test_start"), 0)
    assert torch.equal(even[0], unsorted.clips(order, np.zeros(32, np.int64)))
    assert torch.equal(even[2], unsorted.clips(order, unsorted.last_starts[order]))


def test_a_score_is_the_mean_of_the_accuracies_of_three_passes(unsorted: Split) -> None:
    answers = asked(unsorted)
    of_passes = [(answers.answers[:, i, 0] == answers.label).mean() for i in range(3)]
    assert answers.scores()["top1"] == pytest.approx(np.mean(of_passes)) and len(set(of_passes)) > 1
    v3 = predict(torch.nn.Sequential(Standardise(), Bright()), unsorted, CPU)
    assert np.array_equal(asked(unsorted, SDD.mended(*MENDED)).top5[:, 0], v3.top5[:, 0])
    mended = asked(unsorted, SDD.mended("score"))
    assert mended.later_top5 is None
    assert np.allclose(mended.true_probability, answers.true_probability)  # a mean in either case


def test_top5_mode_averages_top1_top1_top3_and_top5() -> None:
    answers = replace(GOOD, top5=np.array([[0, 1, 2], [2, 1, 0], [0, 1, 2], [1, 2, 0]], np.int32))  # labels 0 1 2 0
    assert sdd_predict.top5_mode(answers, SDD) == pytest.approx((0.25 + 0.25 + 1.0 + 1.0) / 4)
    assert sdd_predict.top5_mode(answers, SDD.mended("top5")) == 1.0


# --- records ---------------------------------------------------------------------------------------------------------


def test_a_record_lies_beside_those_of_v3_says_its_epochs_and_can_be_repeated(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_linear_student(monkeypatch)
    monkeypatch.setattr("vddbench.evaluation.hardware.best_precision", lambda device, student: "bf16")
    one = Sdd(epochs=1)
    options: dict[str, Any] = {"students": "convnet3d", "seeds": 1}
    (ranked,) = evaluate(tiny_random, results=tmp_path, **options)
    (path,) = evaluate(tiny_random, results=tmp_path, protocol=one, **options)
    assert path == ranked.parents[1] / "convnet3d-sdd" / "seed0.json"
    record, answers = read_record(path)
    assert (record.protocol, record.epochs, record.student_steps, record.clip_steps) == ("sdd", 1, 2, 16)
    assert (read_record(ranked)[0].environment.precision, record.environment.precision) == ("bf16", "fp32")
    assert (record.student_lr, record.protocol_hash) == (0.01, one.hash(convnet3d.RECIPE))
    assert answers.answers.shape == (32, 3, 5) and record.top1 == answers.scores()["top1"]
    (again,) = evaluate(tiny_random, results=tmp_path / "again", protocol=one, **options)
    assert read_record(again)[0].predictions_sha256 == record.predictions_sha256
    with pytest.raises(ValueError, match="made under other conditions: protocol_hash"):
        evaluate(tiny_random, results=tmp_path, protocol=Sdd(epochs=2), **options)
    with pytest.raises(LookupError, match="measures mended ones"):
        evaluate(tiny_random, results=tmp_path, protocol=one.mended("scale"), **options)
    with pytest.raises(LookupError, match="leave out --probes"):
        evaluate(tiny_random, results=tmp_path, protocol=one, probes=True, **options)


def test_every_fault_has_a_mended_value_that_differs_from_the_released_one_and_changes_the_hash() -> None:
    for fault, value in MENDED.items():
        assert getattr(SDD, fault) != value
        assert Sdd.model_validate(SDD.mended(fault).model_dump()) == SDD.mended(fault)
        assert SDD.mended(fault).hash(convnet3d.RECIPE) != SDD.hash(convnet3d.RECIPE)
    with pytest.raises(LookupError, match="fault 'epochs' is unknown"):
        SDD.mended("epochs")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--protocol", "v9"], "allowed: v3, sdd"),
        (["--epochs", "3"], "--epochs belongs to --protocol sdd"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = call("evaluate", "nowhere", *options)
    assert code == 2 and reason in " ".join((output + capsys.readouterr().err).split())
