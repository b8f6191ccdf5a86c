"""Rows of `rank` as a text table with a line for each entry; "-" for what is not known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabulate import tabulate

from vddbench.leaderboard.rank import LOST
from vddbench.leaderboard.rows import Row, is_known
from vddbench.system.progress import clean

HEADERS = (
    "rank", "method", "top-1 %", "95 %", "over random", "gap closed %", "students", "MB", "of budget %", "clips/class", "marks",
)  # fmt: skip
PROBED = "lost if still / shuffled / reversed"  # points of top-1, on changed test videos
FRONT = "Pareto front"  # whether the entry is on it, and the probability that it is


def draw(rows: Sequence[Row], style: str) -> str:
    """The table; with a column of what motion probes lose if an entry was probed, and one of the Pareto front in `open`."""
    more: dict[str, Callable[[Row], str]] = {}
    if any(is_known(row["pareto_probability"]) for row in rows):
        more[FRONT] = on_front
    if any(is_known(row[name]) for row in rows for name in LOST):
        more[PROBED] = probed
    lines = [[*line(row)[:-1], *(column(row) for column in more.values()), line(row)[-1]] for row in rows]
    return tabulate(lines, (*HEADERS[:-1], *more, HEADERS[-1]), style, disable_numparse=True)


def on_front(row: Row) -> str:
    """Whether no other entry is as accurate with as few bytes, and the probability of it: `yes (93 %)`."""
    if not is_known(row["pareto_probability"]):
        return "-"
    return f"{'yes' if row['pareto'] else 'no'} ({number(row['pareto_probability'], '{:.0f}', 100)} %)"


def probed(row: Row) -> str:
    """What is lost on test videos without motion, in points."""
    if not any(is_known(row[name]) for name in LOST):
        return "-"
    return " / ".join(number(row[name], "{:.1f}", 100) for name in LOST)


def line(row: Row) -> list[str]:
    """One entry as text; "-" for what is not known."""
    return [
        place(row),
        clean(f"{row['title']} ({row['method']})" if row["title"] else str(row["method"])),
        number(row["top1"], "{:.1f}", 100),
        interval(row["low"], row["high"], "{:.1f}"),
        with_interval(row, "gain", "gain_low", "gain_high", "{:+.1f}"),
        with_interval(row, "gap_closed", "gap_low", "gap_high", "{:.0f}"),
        f"{row['seeds']} {row['basis']}" + ("" if row["distillations"] == 1 else f" on {row['distillations']}"),
        number(row["payload_bytes"], "{:.3f}", 1e-6),
        number(row["budget_share"], "{:.1f}", 100),
        number(row["clips_per_class"], "{:g}"),
        clean(str(row["flags"])),
    ]


def place(row: Row) -> str:
    """The rank, and where the entry comes in 95 % of the draws if that varies: `1`, `2 (2-4)`."""
    rank, low, high = (number(row[name], "{:.0f}") for name in ("rank", "rank_low", "rank_high"))
    return rank if low == high == rank else f"{rank} ({low}-{high})"


def interval(low: object, high: object, form: str) -> str:
    """Two shares in percent."""
    return f"({number(low, form, 100)} to {number(high, form, 100)})" if is_known(low) else "-"


def with_interval(row: Row, value: str, low: str, high: str, form: str) -> str:
    """A share in percent and its interval, as far as they are known."""
    return f"{number(row[value], form, 100)} {interval(row[low], row[high], form)}".removesuffix(" -")


def number(value: object, form: str, times: float = 1) -> str:
    assert isinstance(value, int | float)
    return form.format(value * times) if is_known(value) else "-"
