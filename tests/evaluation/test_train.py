"""Training follows the protocol: exact steps, schedule, batches and normalisation; reproducible; the same in micro-batches."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders import submissions
from tests.builders.stores import SIZE
from vddbench.data.datasets import movingshapes
from vddbench.evaluation import hardware
from vddbench.evaluation import train as training
from vddbench.evaluation.hardware import Hardware, hardware_for
from vddbench.evaluation.students import convnet3d
from vddbench.lookup import load, names
from vddbench.spec import ClipSet, Recipe

SPEC = movingshapes.SPEC.model_copy(update={"size": SIZE})
CPU = torch.device("cpu")
FP32 = Hardware(device=CPU, precision="fp32")


def random_clips(count: int) -> ClipSet:
    clips = torch.randint(0, 256, (count, *SPEC.clip_shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return ClipSet(clips=clips, labels=torch.arange(count) % SPEC.num_classes)


class OneNumber(torch.nn.Module):
    """Logits are w * class index, so that the gradient can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * torch.arange(SPEC.num_classes, dtype=x.dtype).expand(len(x), -1)


def one_number(**recipe: float) -> Any:
    return SimpleNamespace(RECIPE=Recipe(**recipe), build=lambda shape, classes: OneNumber())


def test_input_is_imagenet_normalised_and_channels_last_without_a_copy() -> None:
    clips = random_clips(2).clips
    x = training.to_input(clips, SPEC, CPU)
    by_hand = (clips[1, 3, 5, 7, 2] / 255 - 0.406) / 0.225
    assert x[1, 2, 3, 5, 7] == pytest.approx(float(by_hand), abs=1e-5)
    assert x.shape == (2, 3, 8, SIZE, SIZE)
    assert x.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(("num_clips", "batch"), [(8, 8), (10, 4), (7, 5)])
def test_every_clip_is_used_equally_often_and_none_twice_in_a_pass(num_clips: int, batch: int) -> None:
    steps = 2 * num_clips
    drawn = np.concatenate(list(training.batches(num_clips, batch, steps, seed=3)))
    assert len(drawn) == steps * batch
    for first in range(0, len(drawn), num_clips):
        assert sorted(drawn[first : first + num_clips]) == list(range(num_clips))


def by_hand(target: np.ndarray, rates: tuple[float, ...]) -> float:
    """w after plain SGD from 1 on the cross-entropy against `target` [K]: dL/dw = E_softmax[class] - E_target[class]."""
    w, classes = 1.0, np.arange(8)
    for lr in rates:
        softmax = np.exp(w * classes) / np.exp(w * classes).sum()
        w -= lr * float((softmax * classes).sum() - (target * classes).sum())
    return w


def test_sgd_takes_exactly_the_given_steps_and_its_rate_drops_at_half() -> None:
    student = one_number(lr=0.1, momentum=0.0, weight_decay=0.0)
    trained = training.train(random_clips(8), SPEC, student, steps=4, batch=8, seed=0, hardware=FP32)
    expected = by_hand(np.full(8, 1 / 8), (0.1, 0.1, 0.01, 0.01))  # labels are 0..7, once each
    assert trained.model.state_dict()["w"].item() == pytest.approx(expected, abs=1e-5)


def test_a_gradient_longer_than_the_limit_is_shortened_and_a_shorter_one_is_untouched() -> None:
    one_clip = ClipSet(clips=random_clips(1).clips, labels=torch.zeros(1, dtype=torch.int64))

    def moved(gradient_norm: float) -> float:
        trained = training.train(
            one_clip, SPEC, one_number(lr=1.0, lr_drop=1, weight_decay=0),
            steps=1, batch=1, seed=0, hardware=FP32, gradient_norm=gradient_norm,
        )  # fmt: skip
        return 1 - float(next(trained.model.parameters()).detach())

    free = moved(math.inf)  # the gradient itself: 6.4, the mean class index under softmax
    assert 5 < free < 7
    assert moved(5.0) == pytest.approx(5.0, abs=1e-5)
    assert moved(7.0) == free


def test_a_student_learns_what_its_clips_show() -> None:
    """Two classes, bright above and bright below: after 15 steps no clip is taken for the other class."""
    pictures = torch.full((8, *SPEC.clip_shape), 30, dtype=torch.uint8)
    middle = SPEC.size // 2
    pictures[0::2, :, :middle], pictures[1::2, :, middle:] = 220, 220
    clips = ClipSet(clips=pictures, labels=torch.tensor([0, 1] * 4))
    trained = training.train(clips, SPEC, convnet3d, steps=15, batch=8, seed=0)  # type: ignore[arg-type]
    with torch.no_grad():
        answers = trained.model(training.to_input(clips.clips, SPEC, CPU)).argmax(1)
    assert answers.tolist() == clips.labels.tolist()


def test_soft_labels_are_the_distribution_the_loss_is_taken_against() -> None:
    student = one_number(lr=0.1, momentum=0.0, weight_decay=0.0)
    target = np.array([0.5, 0.1, 0.1, 0.3, 0, 0, 0, 0])
    soft = ClipSet(clips=random_clips(8).clips, labels=torch.tensor(target, dtype=torch.float32).expand(8, 8))
    trained = training.train(soft, SPEC, student, steps=2, batch=8, seed=0, hardware=FP32)
    assert trained.model.state_dict()["w"].item() == pytest.approx(by_hand(target, (0.1, 0.01)), abs=1e-5)


def weights(seed: int, **more: Any) -> torch.Tensor:
    trained = training.train(random_clips(8), SPEC, convnet3d, steps=2, batch=8, seed=seed, **more)  # type: ignore[arg-type]
    return torch.cat([p.detach().flatten() for p in trained.model.parameters()])


def test_the_same_seed_gives_the_same_student_to_the_bit_and_another_seed_another() -> None:
    first = weights(0)
    torch.rand(5)  # what ran before must not matter
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_micro_batches_keep_the_effective_batch() -> None:
    model = convnet3d.build(SPEC.clip_shape, 8).eval()  # eval: dropout draws differently in parts
    clipset = random_clips(6)
    whole, *split = [
        (float(training.BatchGradient(model, SPEC, FP32, micro)(clipset.clips, clipset.labels)), model.head.weight.grad)
        for micro in (6, 4, 1)
    ]
    for loss, gradient in split:
        assert loss == pytest.approx(whole[0], rel=1e-5)
        torch.testing.assert_close(gradient, whole[1], rtol=1e-4, atol=1e-6)


def test_when_memory_runs_out_the_same_batch_is_split_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    add_gradients, tried = training.BatchGradient._add_gradients, []

    def short_of_memory(self: training.BatchGradient, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        tried.append(self.micro_batch)
        if self.micro_batch > 2:  # stands for a full GPU
            raise torch.OutOfMemoryError("CUDA out of memory")
        return add_gradients(self, clips, labels)

    monkeypatch.setattr(training.BatchGradient, "_add_gradients", short_of_memory)
    trained = training.train(random_clips(8), SPEC, convnet3d, steps=2, batch=8, seed=0)
    assert tried == [8, 4, 2, 2]
    assert trained.micro_batch == 2


GROUPS = {"convnet3d": (), "convnet_lstm": pytest.mark.slow}  # convnet_lstm takes 6 GB


@pytest.mark.parametrize("name", [pytest.param(n, marks=GROUPS.get(n, pytest.mark.long)) for n in names("student")])
def test_every_student_trains_in_both_precisions(name: str) -> None:
    spec = SPEC if name == "convnet3d" else submissions.SPEC  # the smallest clips that it accepts
    clips = ClipSet(clips=torch.zeros(2, *spec.clip_shape, dtype=torch.uint8), labels=torch.tensor([0, 1]))
    for precision in ("fp32", "bf16"):
        arithmetic = Hardware(device=CPU, precision=precision)
        trained = training.train(clips, spec, load("student", name), steps=1, batch=2, seed=0, hardware=arithmetic)
        assert trained.finite and trained.precision == precision
        assert all(p.dtype == torch.float32 for p in trained.model.parameters())  # master weights


def test_a_loss_that_is_not_finite_is_reported() -> None:
    trained = training.train(random_clips(8), SPEC, one_number(lr=1e38), steps=3, batch=8, seed=0)
    assert not trained.finite


def test_networks_with_batch_norm_are_not_split_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def short_of_memory(*args: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training.BatchGradient, "_add_gradients", short_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        training.train(random_clips(2), SPEC, load("student", "r2plus1d_18"), steps=1, batch=2, seed=0)


def test_fp32_is_not_tf32_in_training_and_testing() -> None:
    seen = []

    class Looks(OneNumber):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))  # type: ignore[attr-defined]
            return super().forward(x)

    before = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    student: Any = SimpleNamespace(RECIPE=Recipe(lr=0.1), build=lambda shape, classes: Looks())
    training.train(random_clips(8), SPEC, student, steps=1, batch=8, seed=0)
    with hardware.exact_fp32():
        Looks()(torch.zeros(1))
    assert seen == [("ieee", "ieee")] * 2
    assert torch.backends.cudnn.conv.fp32_precision == before  # type: ignore[attr-defined]


def test_the_cpu_and_earlier_kills_for_memory_split_batches_but_never_those_of_networks_with_batch_norm() -> None:
    killed_twice = Hardware(device=CPU, precision="fp32", halvings=2)
    for arithmetic, micro_batch in ((FP32, 64), (killed_twice, 16)):
        assert hardware.default_micro_batch(torch.nn.BatchNorm3d(2), 200, arithmetic) == 200
        assert hardware.default_micro_batch(torch.nn.Linear(2, 2), 200, arithmetic) == micro_batch
    assert hardware.default_micro_batch(torch.nn.Linear(2, 2), 3, killed_twice) == 1


@pytest.mark.parametrize("name", names("student"))
def test_only_students_with_a_parity_study_are_trained_in_bf16(name: str) -> None:
    studies = list((Path(__file__).parents[2] / "leaderboard" / "studies").glob(f"precision-*-{name}.csv"))
    assert studies or hardware_for(load("student", name), CPU).precision == "fp32"
