"""Curves as pictures. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import altair as alt
import pandas as pd

from vddbench.system.files import replacing

MAX_POINTS = 500  # of a loss curve: medians of as many stretches


def curves(losses: Sequence[float], watched: Sequence[tuple[int, float]], folder: Path) -> None:
    """Writes `loss.csv` and, where there were looks at validation videos, `watch.csv` and both curves as `watch.png`."""
    loss = pd.DataFrame({"iteration": range(1, len(losses) + 1), "loss": losses})
    _csv(loss, folder / "loss.csv")
    if not watched:
        return
    seen = pd.DataFrame(watched, columns=["iteration", "validation_top1"])
    _csv(seen, folder / "watch.csv")
    stretch = loss.groupby((loss["iteration"] - 1) * MAX_POINTS // max(len(loss), 1)).median()
    x = alt.X("iteration:Q", title="iterations")
    lines = alt.Chart(stretch).mark_line().encode(x, alt.Y("loss:Q", title="matching loss").scale(zero=False))
    looks = alt.Chart(seen).mark_line(point=True, color="#c2410c")
    looks = looks.encode(x, alt.Y("validation_top1:Q", title="validation top-1").axis(format="%").scale(zero=False))
    chart = alt.vconcat(lines.properties(width=560, height=180), looks.properties(width=560, height=220))
    with replacing(folder / "watch.png") as file:
        chart.save(file, format="png", scale_factor=2)


def _csv(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as file:
        file.write(table.to_csv(index=False).encode())
