"""Processes that stand in for the cells of a run."""

from __future__ import annotations

import sys
import textwrap

import pytest

from vddbench.cluster import worker
from vddbench.cluster.plan import Cell, Run


class StandIn:
    """In place of a cell's process: Python that is given `cell` and `halvings`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
        self.body = textwrap.dedent(body)
        monkeypatch.setattr(worker, "command", self.command)
        monkeypatch.setattr(worker, "is_made", lambda run, cell: run.made(cell).exists())

    def command(self, run: Run, cell: Cell, halvings: int, needs_gpu: bool) -> list[str]:
        made = run.made(cell)
        made.parent.mkdir(parents=True, exist_ok=True)
        given = f"cell, halvings, made = {cell.index}, {halvings}, Path({str(made)!r})"
        head = f"import os, sys, time\nfrom pathlib import Path\n{given}\n"
        return [sys.executable, "-S", "-c", head + self.body]
