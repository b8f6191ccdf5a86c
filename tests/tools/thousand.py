"""`python -m tests.tools.thousand [ENTRIES]`: size and speed of a front page with many entries in one table.

Needs Chromium and Playwright. Prints medians of five loads: the time from opening the page until its script has run and a frame
is drawn, and from a click on a column until the sorted rows are drawn.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.builders.records import a_record
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.rank import rank_tables
from vddbench.leaderboard.site.board import assembled
from vddbench.leaderboard.site.build import write_index
from vddbench.leaderboard.site.page_writer import PageWriter
from vddbench.leaderboard.site.sections import task_section
from vddbench.leaderboard.table_records import tables_of
from vddbench.records.files import write_record
from vddbench.records.predictions import Predictions

if TYPE_CHECKING:
    from playwright.sync_api import Browser

VIDEOS, CLASSES = 100, 10
DRAWN = "() => new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0)))"


def long_board(folder: Path, entries: int = 1000) -> Path:
    """The index.html of a board with this many entries, `random` among them, of 3 students each."""
    labels = np.arange(VIDEOS, dtype=np.int32) % CLASSES
    ids = np.array([f"v{i:03}" for i in range(VIDEOS)])
    answers = Predictions(
        video=ids,
        group=np.full(VIDEOS, ""),
        label=labels,
        top5=(labels[:, None] + np.arange(5, dtype=np.int32)) % CLASSES,
        true_probability=np.full(VIDEOS, 0.5, np.float32),
        centre_top1=labels,
    )
    record = a_record(num_test=VIDEOS, num_classes=CLASSES, top1=1.0, top5=1.0, centre_top1=1.0, payload_bytes=10**6)
    record = record.model_copy(update={"budget_bytes": 2 * 10**6})
    path = write_record(folder / "results", record, answers)
    rng = np.random.default_rng(0)
    evaluated = []
    for i in range(entries):
        skill = rng.uniform(0.1, 0.6) if i else 0.1
        sha = f"{i:08x}" * 8
        payload_bytes = int(10 ** rng.uniform(4, 6.3))
        for seed in range(3):
            hits = rng.random(VIDEOS) < skill
            mine = {"method": f"method_{i}" if i else "random", "submission_sha256": sha, "seed": seed, "top1": hits.mean()}
            one = record.model_copy(update={**mine, "payload_bytes": payload_bytes})
            evaluated.append(Evaluated(one, hits, np.full(VIDEOS, ""), path))
    rows, problems = rank_tables(tables_of(evaluated))
    board = assembled(rows, evaluated, {}, left_out=problems)
    sections = [task_section(name, tables, None) for name, tables in board.tables_by_task().items()]
    return write_index(PageWriter(folder / "site", "2026-01-01"), board, sections, board.left_out)


def timed(browser: Browser, index: Path) -> tuple[float, float]:
    """(load, sort) in seconds, medians of five fresh pages."""
    loads, sorts = [], []
    for _ in range(5):
        page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
        page.goto(index.as_uri(), timeout=120_000)
        loads.append(page.evaluate(DRAWN) / 1000)
        started = page.evaluate("performance.now()")
        page.evaluate("document.querySelector('table.ranks th[data-key=mb] button').click()")
        sorts.append((page.evaluate(DRAWN) - started) / 1000)
        page.context.close()
    return statistics.median(loads), statistics.median(sorts)


def main(entries: int) -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        index = long_board(Path(folder), entries)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        load, sort = timed(browser, index)
        browser.close()
        print(f"{entries} entries: {index.stat().st_size / 1e6:.2f} MB, loaded in {load:.2f} s, sorted in {sort:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
