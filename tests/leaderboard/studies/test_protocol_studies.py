"""Studies go on where they stopped, and choose on validation videos that no student was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vddbench.data.store import Store
from vddbench.evaluation.hardware import has_bf16
from vddbench.evaluation.train import Trained, train
from vddbench.leaderboard.studies import fit, testing_precision
from vddbench.leaderboard.studies import protocol_studies as study
from vddbench.leaderboard.studies.rows import Rows
from vddbench.spec import Task
from vddbench.system.device import best_device


@pytest.mark.slow
def test_precision_study_pairs_seeds_and_resumes(tiny_random: Path, tmp_path: Path) -> None:
    study.precision(tiny_random, "convnet3d", range(1), tmp_path)
    (file,) = tmp_path.iterdir()
    first = pd.read_csv(file)
    table = study.precision(tiny_random, "convnet3d", range(2), tmp_path)
    assert list(table.columns) == ["bf16", "fp32"] and list(table.index) == [0, 1]
    again = pd.read_csv(file)
    assert again.iloc[:2].equals(first)  # seed 0 was not run again: its seconds are the same
    assert again["top1"].between(0, 1).all()


def test_lr_study_never_trains_on_the_videos_it_scores_on(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Store) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(Store, "train", property(forbidden))
    monkeypatch.setattr(Store, "test", property(forbidden))
    table = study.lr("convnet3d", Task(dataset="tiny", ipc=1), [0.01, 0.1], range(1), tmp_path)
    assert table["lr"].tolist() == [0.01, 0.1] and table["validation_top1"].between(0, 1).all()
    table.drop(columns="protocol").to_csv(tmp_path / "lr-convnet3d-tiny-ipc1.csv", index=False)
    again = study.lr("convnet3d", Task(dataset="tiny", ipc=1), [0.01], range(1), tmp_path)
    assert again["lr"].tolist() == [0.01, 0.1, 0.01], "it is not known which protocol the rows without one are of"
    assert again["protocol"].tolist()[2] == "v3" and again["protocol"].isna().sum() == 2


def test_rows_that_exist_keep_their_text(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("seed,right\n0,\n1,8\n")
    rows = Rows(file)
    assert rows.has({"seed": 1}) and not rows.has({"seed": 2})
    rows.add({"seed": 2, "right": 7})
    assert file.read_text() == "seed,right\n0,\n1,8\n2,7\n"
    assert rows.table({"seed": 2})["right"].tolist() == [7] and rows.table()["right"].isna().tolist() == [True, False, False]


def test_the_variants_of_v1_and_v2_limit_no_gradient(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    def spied(*args: Any, **settings: Any) -> Trained:
        limits.append(settings.get("gradient_norm"))
        return train(*args, **settings)

    monkeypatch.setattr(fit, "train", spied)
    fit.fit(["tiny"], [1], ["v1", "v2"], 1, [0], tmp_path)
    assert limits == [np.inf, np.inf]


def test_answers_that_flip_are_counted_and_those_of_the_record_recognised(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, classes = len(tiny.test), tiny.spec.num_classes
    fp32 = np.full((videos, classes), 0.1, np.float32)
    fp32[np.arange(videos), tiny.test.labels] = 0.3  # all right
    bf16 = fp32.copy()
    bf16[0, (tiny.test.labels[0] + 1) % classes] = 0.31  # one answer flips to wrong
    monkeypatch.setattr(testing_precision, "has_bf16", lambda device: True)
    monkeypatch.setattr(
        testing_precision,
        "probabilities",
        lambda model, split, device, precision: ({"fp32": fp32, "bf16": bf16}[precision], None),
    )
    trained = Trained(model=torch.nn.Linear(1, 1), finite=True, seconds=0, micro_batch=1, peak_memory_bytes=0, precision="fp32")
    row = testing_precision.compared(trained, tiny.test, tiny.test.labels)
    assert (row["flipped"], row["flipped_to_wrong"], row["flipped_to_right"], row["answers_of_record"]) == (1, 1, 0, True)
    assert row["largest_difference"] == pytest.approx(0.21) and row["lead_is_small"] == videos  # 0.2 <= 2 x 0.21
    said = testing_precision.summary(pd.DataFrame([{**row, "submission": "a"}, {**row, "submission": "b"}]))
    assert said.startswith(f"2 students of 2 sets: bf16 changes 2 of {2 * videos} answers, 0 to right and 2 to wrong")


def test_the_same_roundings_in_fp32_are_what_bf16_computes() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv3d(3, 4, 3), torch.nn.ReLU(), torch.nn.AvgPool3d(2), torch.nn.Flatten(), torch.nn.Linear(32, 5)
    )
    x = torch.randn(2, 3, 6, 6, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        bf16 = net(x).float()
    with torch.no_grad():
        fp32 = net(x)
        emulated = testing_precision.rounded(net)(x)
    assert (emulated - bf16).abs().max() < (fp32 - bf16).abs().max() / 3
    assert torch.equal(fp32, net(x)), "the network itself is not changed"


@pytest.mark.long
def test_testing_precision_trains_each_student_once(tiny_random: Path, tmp_path: Path) -> None:
    first = testing_precision.testing_precision([tiny_random], "convnet3d", range(1), tmp_path / "none", tmp_path)
    again = testing_precision.testing_precision([tiny_random], "convnet3d", range(1), tmp_path / "none", tmp_path)
    assert len(first) == 1 and first["fp32_seconds"].tolist() == again["fp32_seconds"].tolist()
    assert first["bf16_emulated"][0] == (not has_bf16(best_device())) and 0 < first["largest_difference"][0] < 0.1
