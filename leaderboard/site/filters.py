"""How values are written on the pages: numbers, addresses, shades, small bars. Text of strangers goes through `shown`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from vddbench.leaderboard.site.entries import Line
from vddbench.system.progress import clean


def shown(value: object) -> object:
    """What an expression of a template puts into a page: text without what would turn its direction or hide."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def pct(value: float | None, digits: int = 1) -> str:
    """A share in percent; a dash when it is not known."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or pd.isna(value) else f"{100 * value:+.{digits}f}".replace("-", "−")


def mb(value: float) -> str:
    """Bytes in MB of 10^6."""
    return f"{value / 1e6:.3f}"


def place(row: Mapping[str, Any]) -> str:
    """` (1–4)`: where the entry comes in 95 % of the draws; empty where that is always its rank."""
    rank, low, high = row["rank"], row["rank_low"], row["rank_high"]
    return "" if pd.isna(rank) or rank == low == high else f"{low:.0f}–{high:.0f}"


def link(url: str) -> str:
    """The address itself when it is https; empty for anything else, whatever let it through."""
    return url if re.fullmatch(r"https://[^\s\"'<>\\]{1,500}", url) else ""


def heat(value: float, top: float = 1.0) -> str:
    """Class of a cell's shade, h0 to h10."""
    return "" if pd.isna(value) else f"h{min(10, int(np.floor(10 * value / top + 0.5)))}"


def interval_svg(line: Line, scale: float) -> Markup:
    """The score as a dot and its interval as a bar, on a scale that the rows of a table share."""
    x = [100 * min(1.0, max(0.0, value / scale)) for value in (line.row["low"], line.top1, line.row["high"])]
    known = not pd.isna(line.row["low"])
    interval = Markup('<path d="M{} 5H{}"/>').format(f"{x[0]:.0f}", f"{x[2]:.0f}") if known else ""
    whole = Markup('<svg class="iv" viewBox="-3 0 106 10" aria-hidden="true">{}<circle cx="{}" cy="5" r="3"/></svg>')
    return whole.format(interval, f"{x[1]:.0f}")


FILTERS: dict[str, Callable[..., object]] = {  # by their names in the templates
    "pct": pct,
    "signed": signed,
    "mb": mb,
    "place": place,
    "link": link,
    "heat": heat,
    "missing": pd.isna,
    "svg": Markup,  # for our own charts only
}
