"""Charts of the site, drawn once when it is built: Altair to SVG, so that pages need no JavaScript to show them. No torch.

Colours are the page's own variables (`var(--ink)`), so that a chart follows the page into the dark.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from altair import Chart

from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.site.entries import Line, Table

WIDTH, HEIGHT = 350, 230  # pixels of the plot; pages scale a chart up to 1.5 times
MAX_INTERVALS = 60  # in one chart; more are a smear
MAX_DOTTED = 24  # lines of the chart of seeds
NAME_PIXELS, NAME_HEIGHT, NAME_GAP = 5.6, 12, 7  # of a letter, of a line of text, between a point and its name
INK, MUTED, RULE, ACCENT, SECOND = "var(--ink)", "var(--muted)", "var(--rule)", "var(--accent)", "var(--second)"
HERE = "https://here.invalid/"  # vl-convert completes relative links; this marks them until the chart is drawn
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": "transparent"},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "titleFontSize": 11,
        "labelFontSize": 11,
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
    },
}


def svg(layers: Sequence[Chart], width: int, height: int) -> str:
    """As text of an `<svg>` element. Vega escapes what it writes."""
    chart = alt.LayerChart(layer=list(layers), width=width, height=height).configure(**CONFIG)
    text = vl_convert.vegalite_to_svg(json.loads(chart.to_json()))
    return text.replace(
        f'xlink:href="{HERE}', 'tabindex="-1" href="'
    )  # the table beside it has the same links for the keyboard


def bytes_chart(table: Table) -> str:
    """Accuracy against bytes (log) with the Pareto front; naive baselines as lines besides. Links are from the site's root."""
    lines = [line for line in (*table.lines, *table.full) if line.is_line]
    data = pd.DataFrame([_point(line) for line in table.lines])
    low, high = float(data["mb"].min()) / 1.25, float(data["mb"].max()) * 1.25
    top = _top([*data["high"], *data["top1"], *(line.top1 for line in lines)])
    data["x"] = [WIDTH * math.log(mb / low) / math.log(high / low) for mb in data["mb"]]
    data["y"] = HEIGHT * (1 - data["top1"] / top)
    x = alt.X("mb:Q").title("MB of the payload, log scale").scale(type="log", domain=[low, high], nice=False)
    x = x.axis(format="~g", tickCount=4, grid=False)
    y = _accuracy("top1:Q", top)
    front = alt.Chart(_front(data)).mark_line(interpolate="step-after", color=RULE, strokeWidth=6, aria=False)
    layers: list[Chart] = [front.encode(x, y), *_references(lines)]
    if len(data) <= MAX_INTERVALS:
        ends = alt.Chart(data.dropna(subset=["low"])).mark_rule(color=MUTED, opacity=0.55, strokeWidth=1, aria=False)
        layers.append(ends.encode(x, y=alt.Y("low:Q"), y2="high:Q"))
    kinds = alt.Scale(domain=["ranked", "unranked", "line"], range=[ACCENT, MUTED, SECOND])
    colour = alt.Color("kind:N", scale=kinds, legend=None)
    size, opacity = (48, 1.0) if len(data) <= MAX_INTERVALS else (22, 0.6)
    layers.append(
        alt.Chart(data).mark_circle(size=size, opacity=opacity).encode(x, y, colour, href="page:N", description="says:N")
    )
    named = _named(data)
    for side, shift in (("left", NAME_GAP), ("right", -NAME_GAP)):
        text = alt.Chart(named[named["side"] == side]).mark_text(align=side, dx=shift, fontSize=10.5, color=INK, aria=False)  # type: ignore[arg-type]
        layers.append(text.encode(x, y, text="method:N"))
    return svg(layers, WIDTH, HEIGHT)


def _point(line: Line) -> dict[str, object]:
    row = line.row
    interval = "" if pd.isna(row["low"]) else f" ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
    return {
        "method": line.method,
        "mb": row["payload_bytes"] / 1e6,
        "top1": line.top1,
        "low": row["low"],
        "high": row["high"],
        "kind": "line" if line.is_line else "ranked" if line.is_ranked else "unranked",
        "page": f"{HERE}{line.pages[0]}/index.html",
        "says": f"{line.method}: {100 * line.top1:.1f} %{interval}, {row['payload_bytes']:,} bytes",
    }


def _front(data: pd.DataFrame) -> pd.DataFrame:
    """The entries that no other one beats with as few bytes, by bytes."""
    by_bytes = data.sort_values(["mb", "top1"], ascending=[True, False])
    best = by_bytes["top1"].cummax()
    return by_bytes[(by_bytes["top1"] == best) & (best > best.shift(fill_value=-1.0))]


def _named(data: pd.DataFrame) -> pd.DataFrame:
    """The points whose names fit beside them, those of the front first, then by score; the others are told on hovering."""
    first = data.index.isin(_front(data).index)
    points = data.assign(first=first).sort_values(["first", "top1"], ascending=False)
    taken = [(x - 4, x + 4, y) for x, y in zip(data["x"], data["y"], strict=True)]
    kept = []
    for index, point in points[points["kind"] != "line"].iterrows():
        wide = len(point["method"]) * NAME_PIXELS
        right = (point["x"] + NAME_GAP, point["x"] + NAME_GAP + wide, point["y"])
        left = (point["x"] - NAME_GAP - wide, point["x"] - NAME_GAP, point["y"])
        for side, box in (("left", right), ("right", left)):
            inside = box[0] >= 0 and box[1] <= WIDTH + 10
            if inside and not any(box[0] < b and a < box[1] and abs(box[2] - at) < NAME_HEIGHT for a, b, at in taken):
                taken.append(box)
                kept.append((index, side))
                break
    return data.loc[[index for index, _ in kept]].assign(side=[side for _, side in kept])


def _top(values: Sequence[float]) -> float:
    """The upper end of an axis of accuracies, a little above the largest that is known."""
    largest = max(value for value in values if not pd.isna(value))
    return min(1.0, 1.05 * largest) or 1.0


def _accuracy(field: str, top: float) -> alt.Y:
    return alt.Y(field).title(None).scale(domain=[0, top], nice=False).axis(format="%", tickCount=5, ticks=False, domain=False)


def _references(lines: Sequence[Line]) -> list[Chart]:
    """Level lines of the naive baselines, each with its name at the left edge, below the line where another is close."""
    data = pd.DataFrame([{"top1": line.top1, "name": line.method} for line in lines], columns=["top1", "name"])
    rules = alt.Chart(data).mark_rule(color=SECOND, strokeDash=[2, 3], aria=False).encode(y="top1:Q")
    ordered = data.sort_values("top1", ascending=False)
    close = (-ordered["top1"].diff()).lt(0.06 * float(ordered["top1"].max()))  # to the one above it
    layers: list[Chart] = [rules]
    for names, shift in ((ordered[~close], -6), (ordered[close], 8)):
        text = alt.Chart(names).mark_text(align="left", dx=3, dy=shift, fontSize=10.5, color=SECOND, aria=False)
        layers.append(text.encode(y="top1:Q", x=alt.value(0), text="name:N"))
    return layers


def seeds_chart(table: Table) -> str:
    """Every trained student as a dot, method by method, and the score with its interval."""
    lines = [*table.lines[:MAX_DOTTED], *table.full]
    names = [_unique(line, lines) for line in lines]
    dots = pd.DataFrame([_dot(name, one) for name, line in zip(names, lines, strict=True) for one in line.evaluated])
    means = pd.DataFrame([{"name": n, **_point(line)} for n, line in zip(names, lines, strict=True)])
    y = alt.Y("name:N").sort(names).title(None)
    y = y.axis(labelLimit=150, labelColor=INK, ticks=False, domain=False, labelPadding=8)
    top = _top([*dots["top1"], *means["high"]])
    x = alt.X("top1:Q").title("top-1").scale(domain=[0, top], nice=False).axis(format="%", tickCount=5)
    bars = alt.Chart(means.dropna(subset=["low"])).mark_rule(color=RULE, strokeWidth=7, aria=False)
    layers: list[Chart] = [
        bars.encode(y=y, x=alt.X("low:Q"), x2="high:Q"),
        alt.Chart(dots).mark_circle(size=34, opacity=0.55, color=ACCENT).encode(x, y, description="says:N"),
        alt.Chart(means).mark_tick(color=INK, thickness=1.5, height=13, aria=False).encode(x, y),
    ]
    return svg(layers, WIDTH - 80, max(40, 20 * len(lines)))


def _dot(name: str, one: Evaluated) -> dict[str, object]:
    r = one.record
    says = f"{name}, seed {r.seed} of distillation {r.distill_seed}: {100 * r.top1:.1f} %"
    return {"name": name, "top1": r.top1, "says": says}


def _unique(line: Line, lines: Sequence[Line]) -> str:
    """The method's name; with the payload's hash where two entries claim it."""
    twice = sum(other.method == line.method for other in lines) > 1
    return f"{line.method} {str(line.row['sha256'])[:4]}" if twice else line.method
