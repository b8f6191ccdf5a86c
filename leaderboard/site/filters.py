"""How pages write values: numbers, addresses, shades, small bars. All text of strangers goes through `printable`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from vddbench.leaderboard.divisions import nobody, question
from vddbench.leaderboard.marks import legend, marks_in
from vddbench.leaderboard.site.entries import Entry, Table
from vddbench.spec import Task
from vddbench.system.progress import clean

DASH = "–"  # for a value that is not known


def printable(value: object) -> object:
    """The value of a template's expression, without invisible characters and those that reverse the text around them."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def pct(value: float | None, digits: int = 1) -> str:
    """A share as a number of percent."""
    return DASH if value is None or pd.isna(value) else f"{100 * value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference of shares as a number of points with its sign."""
    return DASH if value is None or pd.isna(value) else f"{100 * value:+.1f}".replace("-", "−")


def mb(value: float) -> str:
    """Bytes as a number of MB (10^6 bytes)."""
    return f"{value / 1e6:.3f}"


def rank_range(row: Mapping[str, Any]) -> str:
    """`1–4`: the entry's places in 95 % of the draws. Empty if it always has its rank."""
    rank, low, high = row["rank"], row["rank_low"], row["rank_high"]
    return "" if pd.isna(rank) or rank == low == high else f"{low:.0f}–{high:.0f}"


def link(url: str) -> str:
    """The address if it is plain https, else an empty string."""
    return url if re.fullmatch(r"https://[^\s\"'<>\\]{1,500}", url) else ""


def heat(value: float) -> str:
    """The CSS class of a heat map's cell, h0 to h10."""
    return "" if pd.isna(value) else f"h{min(10, int(np.floor(10 * value + 0.5)))}"


def position(value: float, scale: tuple[float, float]) -> str:
    """Where a score is on a bar of 100 units. scale: the accuracies at its ends."""
    low, high = scale
    return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.0f}"


def interval_svg(entry: Entry, table: Table, number: int) -> Markup:
    """The score as a dot on its interval as a bar, before the ticks of the references. number: of the table on the page."""
    low, score, high = (position(value, table.scale) for value in (entry.row["low"], entry.top1, entry.row["high"]))
    bar = Markup("") if pd.isna(entry.row["low"]) else Markup('<path d="M{} 6H{}"/>').format(low, high)
    svg = Markup(
        '<svg class="iv" viewBox="-3 0 106 12" aria-hidden="true"><use href="#r{}"/>{}<circle cx="{}" cy="6" r="3"/></svg>'
    )
    return svg.format(number, bar, score)


def references_svg(table: Table, number: int) -> Markup:
    """The ticks that every bar of a table repeats: `random` and `full`."""
    values = {"low": table.random, "full": table.full[0].top1 if table.full else np.nan}
    ticks = [
        Markup('<path class="{}" d="M{} 0V12"/>').format(name, position(value, table.scale))
        for name, value in values.items()
        if not pd.isna(value)
    ]
    svg = Markup('<svg class="refs" aria-hidden="true" width="0" height="0"><g id="r{}">{}</g></svg>')
    return svg.format(number, Markup("").join(ticks))


def named_svg(chart: str, name: str) -> Markup:
    """A chart that this package drew, with a name for screen readers."""
    return Markup(chart.replace("<svg ", f'<svg role="group" aria-label="{name}" ', 1))  # noqa: S704 - Vega escapes its text


FILTERS: dict[str, Callable[..., object]] = {  # by their names in the templates
    "pct": pct,
    "signed": signed,
    "mb": mb,
    "rank_range": rank_range,
    "link": link,
    "heat": heat,
    "marks": marks_in,
    "has_mark": lambda flags, name: any(mark.name == name for mark, _ in marks_in(flags)),
    "missing": pd.isna,
    "question": lambda task, division: question(Task.parse(task), division),
    "nobody": lambda task, division: nobody(Task.parse(task), division),
    "legend": lambda table: legend(entry.row["flags"] for entry in (*table.entries, *table.full)),
    "svg": named_svg,
}
