"""A test score depends on the student alone: not on the order of the videos, nor on how many are computed at once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.builders.students import build as linear
from vddbench.data.store import Split, Store
from vddbench.evaluation.predict import predict, probabilities, top1_on
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import to_input
from vddbench.spec import ClipSet, Recipe, Task
from vddbench.system import progress

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tiny: Store) -> torch.nn.Module:
    torch.manual_seed(0)
    return convnet3d.build(tiny.spec.clip_shape, tiny.spec.num_classes)


def test_the_order_of_the_test_videos_changes_no_answer(tiny: Store, model: torch.nn.Module) -> None:
    order = np.random.default_rng(0).permutation(len(tiny.test))
    test = tiny.test
    shuffled = Split(
        name="test",
        dataset=test.dataset,
        digest=test.digest,
        spec=test.spec,
        index=test.index.iloc[order].reset_index(drop=True),
        frames=test.frames,
    )
    plain, other = predict(model, test, CPU), predict(model, shuffled, CPU)
    assert np.array_equal(plain.video[order], other.video)
    assert np.array_equal(plain.top5[order], other.top5)
    assert np.array_equal(plain.true_probability[order], other.true_probability)  # to the bit
    assert plain.scores() == other.scores()


@pytest.mark.parametrize("batch", [1, 7, 30])
def test_another_test_batch_size_changes_no_answer(tiny: Store, model: torch.nn.Module, batch: int) -> None:
    usual, _ = probabilities(model, tiny.test, CPU)
    other, _ = probabilities(model, tiny.test, CPU, batch=batch)
    assert np.array_equal(np.argsort(-usual, axis=1), np.argsort(-other, axis=1))  # top-1 and top-5 to the bit
    np.testing.assert_allclose(usual, other, atol=1e-6)  # kernels differ in the last bit between batch sizes


def test_three_views_are_averaged_after_softmax_and_the_centre_is_the_middle_one(tiny: Store, model: torch.nn.Module) -> None:
    mean, centre = probabilities(model, tiny.test, CPU)
    video = int(tiny.test.last_starts.argmax())
    last = int(tiny.test.last_starts[video])
    starts = np.array([0, last // 2, last])
    assert last >= 2
    clips = tiny.test.clips(np.full(3, video), starts)
    with torch.no_grad():
        softmax = model.eval()(to_input(clips, tiny.spec, CPU)).softmax(1).numpy()
    np.testing.assert_allclose(mean[video], softmax.mean(0), atol=1e-6)
    np.testing.assert_allclose(centre[video], softmax[1], atol=1e-6)


class Broken(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x), 8), torch.nan)


def test_a_student_that_answers_nan_scores_zero_and_says_so(tiny: Store) -> None:
    predictions = predict(Broken(), tiny.test, CPU)
    assert (predictions.top5 == -1).all()
    assert predictions.scores() == {"top1": 0.0, "top5": 0.0, "centre_top1": 0.0}


def test_a_train_split_holds_no_frame_of_a_test_video(tiny: Store) -> None:
    test_frames = {frame.tobytes() for frame in tiny.test.frames}
    assert len(tiny.test.frames) == tiny.test.index["num_frames"].sum()
    for split in (tiny.train, tiny.holdout_train, tiny.validation):
        assert not any(frame.tobytes() in test_frames for frame in split.frames)


def test_a_student_by_which_a_method_is_tuned_reports_its_steps(
    tiny: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", 0.0)
    clips = ClipSet(clips=tiny.train.clips(np.arange(2), np.zeros(2, np.int64)), labels=torch.tensor([0, 1]))
    student = SimpleNamespace(RECIPE=Recipe(lr=0.01), build=linear)
    assert 0 <= top1_on(tiny.train, clips, Task(dataset="tiny", ipc=1), student, 0, "crf 30") <= 1
    assert "student to tune crf 30 on tiny" in capsys.readouterr().err
