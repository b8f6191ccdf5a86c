"""What a GPU needs of a training step is checked without one: it reads nothing back, and each step is the same operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.builders.operations import recorded
from tests.builders.stores import SIZE
from vddbench.data.datasets import movingshapes
from vddbench.data.store import Store
from vddbench.evaluation import hardware, predict
from vddbench.evaluation import train as training
from vddbench.evaluation.engine import EAGER_STEPS, Batches, Repeated, Step
from vddbench.evaluation.hardware import Hardware
from vddbench.evaluation.students import convnet3d
from vddbench.lookup import load, names
from vddbench.spec import ClipSet

SPEC = movingshapes.SPEC.model_copy(update={"size": SIZE})
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def clips(count: int = 2) -> ClipSet:
    pixels = torch.randint(0, 256, (count, *SPEC.clip_shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return ClipSet(clips=pixels, labels=torch.arange(count) % SPEC.num_classes)


def captured_step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """The step that `train` would capture on a GPU, after its first steps."""
    found: list[Step] = []

    def capture(step: Step, device: torch.device) -> Step:
        found.append(step)
        return step

    monkeypatch.setattr(training, "graph_safe", lambda student, clips: True)
    monkeypatch.setattr(training, "cuda_graph", capture)
    training.train(clips(), SPEC, convnet3d, steps=EAGER_STEPS + 1, batch=1, seed=0)  # type: ignore[arg-type]
    return found[0]


def test_a_step_reads_nothing_back_and_is_the_same_operations_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    step = captured_step(monkeypatch)
    monkeypatch.setattr(Batches, "next", lambda self: (self.clips[:1], self.labels[:1]))  # its order of clips is used up
    first, second = recorded(step), recorded(step)
    assert first.operations == second.operations and len(first.operations) > 50
    assert not first.waiting


def test_the_recorder_sees_what_would_wait() -> None:
    x = torch.ones(3)
    for reads in (x[0].item, lambda: bool(x.sum() > 1), lambda: x[x > 0], x.tolist):
        assert recorded(reads).waiting


def test_batches_are_chosen_by_a_counter_on_the_device() -> None:
    rows, seen = np.array([[0, 1], [1, 1], [0, 0]]), list[torch.Tensor]()
    chosen = Batches(clips().clips, clips().labels, rows, 1, CPU)
    for _ in range(2):
        assert not recorded(lambda: seen.append(chosen.next()[1])).waiting
    assert [labels.tolist() for labels in seen] == rows[1:].tolist()


def test_no_operation_of_a_step_mixes_host_and_gpu_or_copies_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without values stand for those of a GPU: PyTorch refuses to mix them with tensors of the host.

    Without the backward pass, which needs a real device.
    """
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
    monkeypatch.setattr(training, "_mean_and_std", training._mean_and_std.__wrapped__)  # its cache would keep fake tensors
    with FakeTensorMode(allow_non_fake_inputs=True):
        with CUDA:
            model = convnet3d.build(SPEC.clip_shape, SPEC.num_classes)
        sgd = training.optimiser(model, convnet3d.RECIPE)
        gradient = training.BatchGradient(model, SPEC, Hardware(device=CUDA, precision="fp32"), 2)
        chosen = Batches(clips(4).clips.to(CUDA), clips(4).labels, np.array([[0, 1], [2, 3]]), 0, CUDA)

        def step() -> None:
            loss = gradient(*chosen.next())
            for weight in model.parameters():
                weight.grad = torch.empty_like(weight)
            sgd.step()
            assert loss.device == CUDA

        recorder = recorded(step)
    assert not recorder.waiting and len(recorder.operations) > 30


def test_a_step_is_captured_after_the_first_ones_and_again_when_its_number_changes() -> None:
    log: list[str] = []

    def step() -> torch.Tensor:
        log.append("step")
        return torch.zeros(())

    def capture(step: Step, device: torch.device) -> Step:
        log.append("capture")  # runs nothing, as a capture on a GPU
        return lambda: (log.append("replay"), torch.zeros(()))[1]

    repeated = Repeated(step, CPU, capture)
    for constant in (0.1,) * (EAGER_STEPS + 2) + (0.01, 0.01):
        repeated(constant)
    assert log == ["step"] * EAGER_STEPS + ["capture", "replay", "replay", "capture", "replay", "replay"]


def test_a_step_that_cannot_be_captured_is_done_as_before_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    done: list[int] = []

    def step() -> torch.Tensor:
        done.append(1)
        return torch.zeros(())

    def capture(step: Step, device: torch.device) -> Step:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    repeated = Repeated(step, CPU, capture)
    for _ in range(EAGER_STEPS + 3):
        repeated(0.1)
    assert len(done) == EAGER_STEPS + 3
    said = " ".join(capfd.readouterr().err.split())
    assert said.count("not one CUDA graph") == 1 and "not permitted when stream is capturing" in said and "more" not in said


def test_only_students_that_say_so_are_captured_and_only_with_clips_on_a_gpu() -> None:
    with FakeTensorMode():
        there = torch.empty(2, device=CUDA)
    safe = {name for name in names("student") if hardware.graph_safe(load("student", name), there)}
    assert safe == {"convnet3d"}
    assert not hardware.graph_safe(load("student", "convnet3d"), torch.empty(2))


def test_testing_reads_answers_once_after_the_last_clip(tiny: Store) -> None:
    model = convnet3d.build(tiny.spec.clip_shape, tiny.spec.num_classes)
    recorder = recorded(lambda: predict.probabilities(model, tiny.validation, CPU, batch=8))
    assert recorder.waiting == ["cpu", "numpy"]
    assert [name.split()[0] for name in recorder.operations[-5:]].count("cat") == 1  # one of the last operations


@pytest.mark.gpu
def test_a_student_of_a_graph_is_the_student_of_single_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(graph: bool) -> torch.Tensor:
        monkeypatch.setattr(training, "graph_safe", lambda student, clips: graph)
        arithmetic = Hardware(device=CUDA, precision="fp32")
        trained = training.train(clips(8), SPEC, convnet3d, steps=12, batch=4, seed=0, hardware=arithmetic)  # type: ignore[arg-type]
        return torch.cat([p.detach().flatten() for p in trained.model.parameters()])

    torch.testing.assert_close(weights(True), weights(False), rtol=1e-4, atol=1e-5)  # kernels may sum in another order
    assert not torch.equal(weights(True), torch.zeros_like(weights(True)))


@pytest.mark.gpu
def test_a_training_step_of_a_graph_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    for kind in (Batches, Repeated):
        make = kind.__init__
        monkeypatch.setattr(kind, "__init__", lambda self, *a, make=make, **k: (make(self, *a, **k), made.append(self))[0])
    training.train(clips(8), SPEC, convnet3d, steps=8, batch=4, seed=0, hardware=Hardware(device=CUDA, precision="fp32"))  # type: ignore[arg-type]
    batches, repeated = made
    assert repeated.replay is not None, "the step was not captured"
    batches.step.zero_()  # its order of clips was used up
    torch.cuda.set_sync_debug_mode("error")
    try:
        repeated(repeated.constant)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_a_capture_that_fails_leaves_stream_and_random_numbers_usable(capfd: pytest.CaptureFixture[str]) -> None:
    from vddbench.evaluation.engine import cuda_graph

    x = torch.ones(100, device=CUDA)

    def step() -> torch.Tensor:
        drawn = torch.nn.functional.dropout(x)
        drawn.sum().item()  # cannot be captured
        return drawn

    torch.manual_seed(0)
    repeated, stream = Repeated(step, CUDA, cuda_graph), torch.cuda.current_stream()
    ours = [repeated(0.0).clone() for _ in range(EAGER_STEPS + 2)]
    torch.manual_seed(0)
    expected = [step().clone() for _ in range(EAGER_STEPS + 2)]
    assert "not one CUDA graph" in " ".join(capfd.readouterr().err.split())
    assert torch.cuda.current_stream() == stream
    assert all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))


@pytest.mark.gpu
def test_cpu_and_gpu_answer_alike(tiny: Store) -> None:
    model = convnet3d.build(tiny.spec.clip_shape, tiny.spec.num_classes)
    here, _ = predict.probabilities(model, tiny.test, CPU)
    there, _ = predict.probabilities(model.to(CUDA), tiny.test, CUDA)
    np.testing.assert_allclose(there, here, atol=1e-5)
