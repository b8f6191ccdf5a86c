"""Charts of the site, drawn by Altair as SVG when the site is built, so that pages show them without JavaScript.

Colours are the page's CSS variables (`var(--ink)`), so charts follow the page's light or dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from altair import Chart

from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.frontier import CODEC, Curve
from vddbench.leaderboard.site.entries import Entry, Table
from vddbench.submissions.method_names import is_codec

WIDTH, HEIGHT = 350, 230  # pixels of the plot; a page scales it by up to 1.5
MAX_INTERVALS = 60  # in one chart; more of them would overlap
MAX_STUDENT_ROWS = 24  # entries in the chart of students
CURVE_SIZES = 40  # at which the codec curve's band is drawn
NAME_PIXELS, NAME_HEIGHT, NAME_GAP = 5.6, 12, 7  # pixels: width of a letter, height of a name, from a point to its name
INK, MUTED, RULE, ACCENT, SECOND = "var(--ink)", "var(--muted)", "var(--rule)", "var(--accent)", "var(--second)"
SITE_ROOT = "https://here.invalid/"  # vl-convert makes links absolute; `svg` removes this prefix again
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


def svg(layers: Sequence[Chart], width: int, height: int, heading: Sequence[str] = ()) -> str:
    """The chart as the text of an `<svg>` element, with lines above it if it has a heading. Vega escapes all text in it."""
    chart = alt.LayerChart(layer=list(layers), width=width, height=height).configure(**CONFIG)
    if heading:
        title = alt.TitleParams(heading[0], subtitle=list(heading[1:]), anchor="start", frame="bounds", offset=14)
        chart = chart.properties(title=title).configure_title(
            fontSize=13, color=INK, subtitleFontSize=10.5, subtitleColor=MUTED, subtitleLineHeight=14
        )
    text = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))  # validating took as long as drawing
    return text.replace(f'xlink:href="{SITE_ROOT}', 'tabindex="-1" href="')  # the table has the same links for the keyboard


def bytes_chart(table: Table, curve: Curve | None = None, heading: Sequence[str] = ()) -> str:
    """Accuracy against bytes (log scale) with the Pareto front and the codec curve; other baselines are lines across.

    Links start at the site's root.
    """
    baselines = [entry for entry in (*table.entries, *table.full) if entry.is_baseline and not is_codec(entry.method)]
    data = pd.DataFrame([_point(entry) for entry in table.entries])
    low, high = float(data["mb"].min()) / 1.25, float(data["mb"].max()) * 1.25
    top = _top([*data["high"], *data["top1"], *(entry.top1 for entry in baselines)])
    data["x"] = [WIDTH * math.log(mb / low) / math.log(high / low) for mb in data["mb"]]
    data["y"] = HEIGHT * (1 - data["top1"] / top)
    x = alt.X("mb:Q").title("MB of the distilled set, log scale").scale(type="log", domain=[low, high], nice=False)
    x = x.axis(format="~g", tickCount=4, grid=False)
    y = _accuracy_axis("top1:Q", top)
    front = alt.Chart(_front(data)).mark_line(interpolate="step-after", color=RULE, strokeWidth=6, aria=False)
    layers: list[Chart] = [
        front.encode(x, y),
        *_curve_layers(curve, 1e6 * float(data["mb"].max()), x, y),
        *_baseline_layers(baselines),
    ]
    if len(data) <= MAX_INTERVALS:
        intervals = alt.Chart(data.dropna(subset=["low"])).mark_rule(color=MUTED, opacity=0.55, strokeWidth=1, aria=False)
        layers.append(intervals.encode(x, y=alt.Y("low:Q"), y2="high:Q"))
    kinds = alt.Scale(domain=["ranked", "unranked", "baseline", "codec"], range=[ACCENT, MUTED, SECOND, SECOND])
    colour = alt.Color("kind:N", scale=kinds, legend=None)
    size, opacity = (48, 1.0) if len(data) <= MAX_INTERVALS else (22, 0.6)
    points = alt.Chart(data).mark_circle(size=size, opacity=opacity)
    layers.append(points.encode(x, y, colour, href="page:N", description="description:N"))
    named = _named(data)
    for side, shift in (("left", NAME_GAP), ("right", -NAME_GAP)):
        text = alt.Chart(named[named["side"] == side]).mark_text(align=side, dx=shift, fontSize=10.5, color=INK, aria=False)  # type: ignore[arg-type]
        layers.append(text.encode(x, y, text="method:N"))
    return svg(layers, WIDTH, HEIGHT, heading)


def _point(entry: Entry) -> dict[str, object]:
    row = entry.row
    interval = "" if pd.isna(row["low"]) else f" ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
    probability = row.get("pareto_probability", math.nan)
    front = "" if pd.isna(probability) else f", on the Pareto front with probability {probability:.2f}"
    kind = "baseline" if entry.is_baseline else "ranked" if entry.is_ranked else "unranked"
    return {
        "method": entry.method,
        "mb": row["payload_bytes"] / 1e6,
        "top1": entry.top1,
        "low": row["low"],
        "high": row["high"],
        "kind": "codec" if is_codec(entry.method) else kind,
        "page": f"{SITE_ROOT}{entry.pages[0]}/index.html",
        "description": f"{entry.method}: {100 * entry.top1:.1f} %{interval}, {row['payload_bytes']:,} bytes{front}",
    }


def _front(data: pd.DataFrame) -> pd.DataFrame:
    """The Pareto front, by bytes: points that no other point beats with as few bytes."""
    by_bytes = data.sort_values(["mb", "top1"], ascending=[True, False])
    best = by_bytes["top1"].cummax()
    return by_bytes[(by_bytes["top1"] == best) & (best > best.shift(fill_value=-1.0))]


def _named(data: pd.DataFrame) -> pd.DataFrame:
    """The points with enough room for a name beside them. Points of the front are placed first, then the others by score.

    A page shows the other names when the mouse points at them.
    """
    on_front = data.index.isin(_front(data).index)
    points = data.assign(on_front=on_front).sort_values(["on_front", "top1"], ascending=False)
    taken = np.c_[data["x"] - 4, data["x"] + 4, data["y"]]  # [boxes, 3]: from, to, height
    kept = []
    for index, point in points[~points["kind"].isin(["baseline", "codec"])].iterrows():
        width = len(point["method"]) * NAME_PIXELS
        right = (point["x"] + NAME_GAP, point["x"] + NAME_GAP + width, point["y"])
        left = (point["x"] - NAME_GAP - width, point["x"] - NAME_GAP, point["y"])
        for side, box in (("left", right), ("right", left)):
            is_inside = box[0] >= 0 and box[1] <= WIDTH + 10
            overlaps = (box[0] < taken[:, 1]) & (taken[:, 0] < box[1]) & (abs(box[2] - taken[:, 2]) < NAME_HEIGHT)
            if is_inside and not overlaps.any():
                taken = np.r_[taken, [box]]
                kept.append((index, side))
                break
    return data.loc[[index for index, _ in kept]].assign(side=[side for _, side in kept])


def _curve_layers(curve: Curve | None, largest: float, x: alt.X, y: alt.Y) -> list[Chart]:
    """The codec curve up to `largest` bytes with its 95 % band and its name."""
    if curve is None:
        return []
    end = max(largest, curve.points[-1].payload_bytes)
    sizes = np.geomspace(curve.points[0].payload_bytes, end, CURVE_SIZES).round()
    rows = []
    for size in sorted({*sizes.tolist(), *(float(point.payload_bytes) for point in curve.points)}):
        at = curve.at(size)
        if at is not None:
            rows.append({"mb": size / 1e6, "top1": at.score, "low": at.interval[0], "high": at.interval[1]})
    data = pd.DataFrame(rows)
    band = alt.Chart(data.dropna()).mark_area(color=SECOND, opacity=0.16, aria=False)
    line = alt.Chart(data).mark_line(color=SECOND, strokeWidth=1.75, aria=False)
    middle = data.iloc[[len(data) // 2]].assign(name=CODEC)  # most sets are at its end
    name = alt.Chart(middle).mark_text(dy=-9, fontSize=10.5, color=SECOND, aria=False)
    return [band.encode(x, y=alt.Y("low:Q"), y2="high:Q"), line.encode(x, y), name.encode(x, y, text="name:N")]


def _top(values: Sequence[float]) -> float:
    """The upper end of an axis of accuracies, a little above the largest known value."""
    largest = max(value for value in values if not pd.isna(value))
    return min(1.0, 1.05 * largest) or 1.0


def _accuracy_axis(field: str, top: float) -> alt.Y:
    return alt.Y(field).title(None).scale(domain=[0, top], nice=False).axis(format="%", tickCount=5, ticks=False, domain=False)


def _baseline_layers(baselines: Sequence[Entry]) -> list[Chart]:
    """A dotted line for each baseline. Its name is above it at the left; lines close to each other share one list of names."""
    data = pd.DataFrame([{"top1": entry.top1, "name": entry.method} for entry in baselines], columns=["top1", "name"])
    rules = alt.Chart(data).mark_rule(color=SECOND, strokeDash=[2, 3], aria=False).encode(y="top1:Q")
    ordered = data.sort_values("top1", ascending=False)
    is_apart = (-ordered["top1"].diff()).ge(0.06 * float(ordered["top1"].max()))  # from the line above it
    names = ordered.groupby(is_apart.cumsum()).agg({"top1": "max", "name": ", ".join})
    text = alt.Chart(names).mark_text(align="left", dx=3, dy=-6, fontSize=10.5, color=SECOND, aria=False)
    return [rules, text.encode(y="top1:Q", x=alt.value(0), text="name:N")]


def students_chart(table: Table) -> str:
    """A row for each entry: a dot for every trained student, a tick for the score, a bar for its interval."""
    entries = [*table.entries[:MAX_STUDENT_ROWS], *table.full]
    names = [_unique_name(entry, entries) for entry in entries]
    dots = pd.DataFrame([_dot(name, one) for name, entry in zip(names, entries, strict=True) for one in entry.evaluated])
    scores = pd.DataFrame([{"name": name, **_point(entry)} for name, entry in zip(names, entries, strict=True)])
    y = alt.Y("name:N").sort(names).title(None)
    y = y.axis(labelLimit=150, labelColor=INK, ticks=False, domain=False, labelPadding=8)
    top = _top([*dots["top1"], *scores["high"]])
    x = alt.X("top1:Q").title("top-1 accuracy").scale(domain=[0, top], nice=False).axis(format="%", tickCount=5)
    bars = alt.Chart(scores.dropna(subset=["low"])).mark_rule(color=RULE, strokeWidth=7, aria=False)
    layers: list[Chart] = [
        bars.encode(y=y, x=alt.X("low:Q"), x2="high:Q"),
        alt.Chart(dots).mark_circle(size=34, opacity=0.55, color=ACCENT).encode(x, y, description="description:N"),
        alt.Chart(scores).mark_tick(color=INK, thickness=1.5, height=13, aria=False).encode(x, y),
    ]
    return svg(layers, WIDTH - 80, max(40, 20 * len(entries)))


def _dot(name: str, one: Evaluated) -> dict[str, object]:
    r = one.record
    description = f"{name}, student seed {r.seed}, distillation seed {r.distill_seed}: {100 * r.top1:.1f} %"
    return {"name": name, "top1": r.top1, "description": description}


def _unique_name(entry: Entry, entries: Sequence[Entry]) -> str:
    """The method's name, with the beginning of the payload's hash if several entries have this name."""
    is_shared = sum(other.method == entry.method for other in entries) > 1
    return f"{entry.method} {str(entry.row['sha256'])[:4]}" if is_shared else entry.method
