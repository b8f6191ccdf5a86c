"""A student that did not fit the set it was trained on is recorded as such, and measuring that changes no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders.stores import COUNTED, VIDEOS
from tests.builders.students import use_linear_student
from vddbench.data.build import build_store
from vddbench.distillation.run import distill
from vddbench.evaluation import referee
from vddbench.evaluation.evaluate import evaluate
from vddbench.evaluation.fit import MOST_CLIPS, Fit, measure
from vddbench.records.files import read_record
from vddbench.records.record import FITTED, Record
from vddbench.spec import ClipSet, Task, Video

CPU = torch.device("cpu")
SHAPE = COUNTED.clip_shape


def dark_or_bright(video: Video) -> np.ndarray:
    return np.full((4, 8, 8, 3), 200 * video.label, np.uint8)


@pytest.fixture(scope="module")
def submission(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of each of two classes, of one grey value each."""
    build_store("greys", COUNTED.model_copy(update={"student_steps": {"1": 40}}), VIDEOS, render=dark_or_bright)
    return distill("random", Task(dataset="greys", ipc=1), 0, tmp_path_factory.mktemp("submissions"))


def record_with(lr: float, submission: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    use_linear_student(monkeypatch, lr)
    (path,) = evaluate(submission, students="linear", seeds=[0], results=results)
    return read_record(path)[0]


def test_a_student_that_learned_nothing_is_reported_at_once(
    submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck = record_with(0, submission, tmp_path / "stuck", monkeypatch)
    assert stuck.fitted is False and stuck.fit_top1 is not None and stuck.fit_top1 <= 0.5
    said = " ".join(capsys.readouterr().err.split())
    assert f"did not fit its own set: it gets {stuck.fit_top1:.1%} of the submission's clips right" in said
    learned = record_with(0.01, submission, tmp_path / "learned", monkeypatch)
    assert learned.fitted is True and learned.fit_top1 == 1 and learned.fit_loss is not None and learned.fit_loss < 0.1
    assert "did not fit" not in capsys.readouterr().err


def test_measuring_the_fit_changes_no_answer(submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = record_with(0.01, submission, tmp_path / "measured", monkeypatch)
    monkeypatch.setattr(referee, "measure", lambda *args: Fit(1.0, 0.0))
    assert record_with(0.01, submission, tmp_path / "not", monkeypatch).predictions_sha256 == measured.predictions_sha256


class Brightness(torch.nn.Module):
    """Answers class 1 for bright clips, class 0 for dark ones."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean((1, 2, 3, 4))
        return torch.stack([-bright, bright], 1)


def greys(values: list[int]) -> torch.Tensor:
    return torch.stack([torch.full(SHAPE, value, dtype=torch.uint8) for value in values])


def test_fit_is_the_share_of_clips_whose_answer_is_the_label() -> None:
    fit = measure(Brightness(), ClipSet(clips=greys([0, 0, 255, 255]), labels=torch.tensor([0, 1, 1, 1])), COUNTED, CPU)
    assert fit.top1 == 0.75 < FITTED
    assert fit.loss is not None and fit.loss > 0.5


def test_with_soft_labels_every_class_of_the_largest_probability_is_right() -> None:
    labels = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.6, 0.4]])
    assert measure(Brightness(), ClipSet(clips=greys([0, 0, 255, 255]), labels=labels), COUNTED, CPU).top1 == 0.75


def test_a_large_set_is_measured_on_clips_of_all_its_classes() -> None:
    clips = greys([0, 255])[torch.arange(4).repeat_interleave(MOST_CLIPS) % 2]
    labels = torch.tensor([0, 1, 1, 1]).repeat_interleave(MOST_CLIPS)  # a quarter of them wrong
    assert 0.7 < measure(Brightness(), ClipSet(clips=clips, labels=labels), COUNTED, CPU).top1 < 0.8


def test_a_student_of_infinite_outputs_fits_nothing() -> None:
    class Infinite(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 2), float("inf"))

    assert measure(Infinite(), ClipSet(clips=greys([0]), labels=torch.tensor([0])), COUNTED, CPU) == Fit(0.0, None)
