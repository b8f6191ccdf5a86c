"""Motion probes: a student's score without motion, in the test videos or in the set that it is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders.records import seeds
from tests.builders.stores import COUNTED, VIDEOS
from tests.builders.students import use_linear_student
from vddbench.data.build import build_store
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.evaluation.predict import predict
from vddbench.evaluation.probes import changed_clips, frame_orders, probe
from vddbench.leaderboard.rank import rank, ranked_rows
from vddbench.leaderboard.row_text import PROBED
from vddbench.leaderboard.tables import print_rows
from vddbench.records.files import read_record
from vddbench.records.record import Record
from vddbench.spec import ClipSet, Task, Video


def brighter_or_darker(video: Video) -> np.ndarray:
    """Class 0 grows brighter, class 1 darker; single frames and their mean tell nothing."""
    levels = np.array([20, 125, 125, 230])[:: 1 - 2 * video.label]
    return np.broadcast_to(levels[:, None, None, None], (4, 8, 8, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    return build_store(
        "ramps", COUNTED.model_copy(update={"student_steps": {"1": 60}}), VIDEOS, render=brighter_or_darker
    ).store


@pytest.fixture(scope="module")
def submission(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distill("random", Task(dataset="ramps", ipc=1), 0, tmp_path_factory.mktemp("submissions"))


def record_of(submission: Path, results: Path, **options: object) -> Record:
    [path] = evaluate(submission, students="linear", seeds=[0], results=results, **options)  # type: ignore[arg-type]
    return read_record(path)[0]


def test_a_student_that_needs_motion_loses_it_and_keeps_its_score(
    submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_linear_student(monkeypatch)
    probed = record_of(submission, tmp_path / "probed", probes=True)
    assert probed.top1 == 1 and probed.reversed_top1 == 0  # brighter becomes darker
    assert probed.still_top1 is not None and 0.3 < probed.still_top1 < 0.7  # one answer for both classes
    assert "0.0% reversed" in capsys.readouterr().err
    plain = record_of(submission, tmp_path / "plain")
    assert plain.predictions_sha256 == probed.predictions_sha256 and plain.still_top1 is None


def test_a_set_without_motion_is_a_row_of_its_own(submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_linear_student(monkeypatch)
    assert record_of(submission, tmp_path).top1 == 1
    frozen = record_of(submission, tmp_path, frames="frozen")
    assert (frozen.method, frozen.trained_on) == ("random_frozen", "frozen")
    assert frozen.fit_top1 == 0.5  # the frozen clips of both classes are equal
    with pytest.raises(LookupError, match="frames 'blurred': allowed are frozen and shuffled"):
        record_of(submission, tmp_path, frames="blurred")


def test_frames_are_frozen_in_the_middle_and_shuffled_as_in_the_probe(store: Store) -> None:
    clips = torch.arange(4).reshape(1, 4, 1, 1, 1).expand(1, 4, 2, 2, 3)
    clipset = ClipSet(clips=clips, labels=torch.tensor([0]))
    assert changed_clips(clipset, "frozen").clips.unique().tolist() == [2]
    order = frame_orders(4)["shuffled_top1"]
    assert changed_clips(clipset, "shuffled").clips[0, :, 0, 0, 0].tolist() == order.tolist()
    for frames in (4, 8, 16):
        order = frame_orders(frames)["shuffled_top1"]
        assert sorted(order) == list(range(frames)) and 0 < np.abs(np.corrcoef(order, np.arange(frames))[0, 1]) < 0.9


def test_a_student_that_ignores_time_loses_nothing(store: Store) -> None:
    class MeanColour(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :2, 0].mean((2, 3))  # [N, 2]

    model = torch.nn.Sequential(MeanOverTime(), MeanColour())
    scores = probe(model, store.test, torch.device("cpu"))
    assert (
        scores["shuffled_top1"] == scores["reversed_top1"] == predict(model, store.test, torch.device("cpu")).scores()["top1"]
    )


class MeanOverTime(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(2, keepdim=True)


def test_tables_show_what_is_lost_and_never_rank_what_was_trained_without_motion(capsys: pytest.CaptureFixture[str]) -> None:
    probed = seeds("mine", [0.5] * 3, still_top1=0.2, shuffled_top1=0.3, reversed_top1=0.5)
    rows = rank([*probed, *seeds("other", [0.4] * 3), *seeds("mine_frozen", [0.6] * 3, trained_on="frozen")])
    by_method = rows.set_index("method")
    assert by_method["lost_still"].round(6).to_dict() == pytest.approx(
        {"mine": 0.3, "other": np.nan, "mine_frozen": np.nan}, nan_ok=True
    )
    assert by_method["rank"].isna().to_dict() == {"mine": False, "other": False, "mine_frozen": True}
    print_rows(rows.to_dict("records"), "md", {})
    text = capsys.readouterr().out
    assert PROBED in text and "30.0 / 20.0 / 0.0" in text and "trained without motion (frozen frames)" in text
    print_rows(ranked_rows(seeds("other", [0.4] * 3)), "md", {})
    assert PROBED not in capsys.readouterr().out
