"""A run's status on one screen."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vddbench.cluster.status import Status
from vddbench.system.progress import clean

COLOURS = {"done": "green", "running": "cyan", "pending": "yellow", "failed": "red", "planned": "dim"}
BAR_WIDTH = 60
FAILURES_SHOWN = 8
TAIL_LINES = 2


def screen(status: Status) -> RenderableType:
    """Counts, speed, what waits and why, slowest cells, failures with the end of their logs."""
    total = sum(status.counts.values())
    parts: list[RenderableType] = [
        Text(clean(status.run), style="bold"),
        Text.assemble(*_bar(status.counts, max(total, 1))),
        Text.assemble(*[(f"{n:,} {state}   ", COLOURS[state]) for state, n in status.counts.items() if n or state == "done"]),
        Text(_speed(status)),
    ]
    if status.scheduler:
        parts.append(Text(status.scheduler, style="yellow"))
    for reason, number in status.waiting.items():
        if reason in status.never:
            parts.append(Text(f"{number:,} pending: {clean(reason)}: this does not pass by waiting", style="red"))
        else:
            parts.append(Text(f"{number:,} pending: {clean(reason)}", style="dim"))
    if status.slowest:
        parts.append(_table("slowest", ["cell", "", "seconds", "tries"], status.slowest))
    parts += _failures(status)
    return Group(*parts)


def _bar(counts: dict[str, int], total: int) -> list[tuple[str, str]]:
    """Pieces of one line, as long as their shares of the cells."""
    ends, done = [0], 0
    for number in counts.values():
        done += number
        ends.append(round(done / total * BAR_WIDTH))
    return [
        ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" * (b - a), COLOURS[s]) for s, a, b in zip(counts, ends[:-1], ends[1:], strict=True)
    ]


def _speed(status: Status) -> str:
    rate = f"{status.cells_per_hour:,.1f} cells/h" if status.cells_per_hour is not None else "no cell done yet"
    eta = f", {duration(status.eta_seconds)} left" if status.eta_seconds else ""
    planned = f" of {status.hours_planned:,.2f} planned" if status.hours_planned is not None else ""
    return f"{rate}{eta}; {status.hours_spent:,.2f} GPU- or slot-hours spent{planned}"


def duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{hours:,.1f} h"


def _table(title: str, columns: list[str], rows: list[dict[str, object]]) -> Table:
    table = Table(*columns, title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*[Text(clean(str(row[name]))) for name in ("cell", "title", "seconds", "attempts")])
    return table


def _failures(status: Status) -> list[RenderableType]:
    if not status.failures:
        return []
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in status.failed.items())
    parts: list[RenderableType] = [Text(f"failed: {kinds}", style="red")]
    for row in status.failures[:FAILURES_SHOWN]:
        parts.append(Text(clean(f"  {row['cell']}  {row['title']}: {row['why']} after {row['attempts']} tries")))
        lines = [line for line in str(row["tail"]).splitlines() if line.strip()][-TAIL_LINES:]
        parts += [Text(clean(f"      {line[:200]}"), style="dim") for line in lines]
    if len(status.failures) > FAILURES_SHOWN:
        parts.append(Text(f"  and {len(status.failures) - FAILURES_SHOWN:,} more: --format json"))
    parts.append(Text("vddbench batch logs CELL shows a log; vddbench batch retry takes up what another try can help"))
    return parts


def show(status: Status) -> None:
    Console().print(screen(status))
