"""Curves are pictures and tables that can be opened."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pandas as pd
import pytest

from vddbench.distillation.curves import write_curves


def test_curves_are_a_png_of_plausible_size_and_csv_files_of_all_values(tmp_path: Path) -> None:
    losses = [1 / (1 + i) for i in range(1300)]
    write_curves(losses, [(0, 0.125), (650, 0.5), (1300, 0.4375)], tmp_path)
    png = (tmp_path / "watch.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" in png[-12:]
    assert 1000 < width < 1600 and 800 < height < 1400 and len(png) > 10_000  # two plots, in pixels of fine screens
    loss, watch = pd.read_csv(tmp_path / "loss.csv"), pd.read_csv(tmp_path / "watch.csv")
    assert loss["iteration"].tolist() == list(range(1, 1301)) and loss["loss"].tolist() == losses
    assert watch.to_dict("list") == {"iteration": [0, 650, 1300], "validation_top1": [0.125, 0.5, 0.4375]}


def test_without_looks_there_is_a_loss_and_no_picture(tmp_path: Path) -> None:
    write_curves([2.0, 1.0], [], tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loss.csv"]
    assert (tmp_path / "loss.csv").read_text() == "iteration,loss\n1,2.0\n2,1.0\n"


def test_looks_before_the_first_iteration_can_be_drawn(tmp_path: Path) -> None:
    write_curves([], [(0, 0.125)], tmp_path)
    assert (tmp_path / "watch.png").stat().st_size > 5_000


def test_without_altair_the_tables_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    write_curves([2.0, 1.0], [(0, 0.125)], tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loss.csv", "watch.csv"]
