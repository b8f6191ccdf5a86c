"""Writes the curves of a run as CSV files and a picture. The site draws its own charts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from vddbench.system.files import replacing, write_whole
from vddbench.system.progress import say

MAX_POINTS = 500  # of a loss curve; each point is the median of an equal share of the iterations


def write_curves(losses: Sequence[float], watched: Sequence[tuple[int, float]], folder: Path) -> None:
    """Writes `loss.csv` and, if the run was watched, `watch.csv` and both curves as `watch.png`, if Altair is installed.

    losses: one per iteration. watched: (iterations done, validation top-1 in [0, 1]).
    """
    loss = pd.DataFrame({"iteration": range(1, len(losses) + 1), "loss": losses})
    write_whole(folder / "loss.csv", loss.to_csv(index=False).encode())
    if not watched:
        return
    top1 = pd.DataFrame(watched, columns=["iteration", "validation_top1"])
    write_whole(folder / "watch.csv", top1.to_csv(index=False).encode())
    if find_spec("altair") and find_spec("vl_convert"):
        _draw(loss, top1, folder / "watch.png")
    else:
        say(f"{folder / 'watch.png'} is not drawn: it needs pip install altair vl-convert-python")


def _draw(loss: pd.DataFrame, top1: pd.DataFrame, path: Path) -> None:
    import altair as alt

    medians = loss.groupby((loss["iteration"] - 1) * MAX_POINTS // max(len(loss), 1)).median()
    x = alt.X("iteration:Q", title="iterations")
    upper = alt.Chart(medians).mark_line().encode(x, alt.Y("loss:Q", title="matching loss").scale(zero=False))
    lower = alt.Chart(top1).mark_line(point=True, color="#c2410c")
    lower = lower.encode(x, alt.Y("validation_top1:Q", title="validation top-1").axis(format="%").scale(zero=False))
    chart = alt.vconcat(upper.properties(width=560, height=180), lower.properties(width=560, height=220))
    with replacing(path) as file:
        chart.save(file, format="png", scale_factor=2)
