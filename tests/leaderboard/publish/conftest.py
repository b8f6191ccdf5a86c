"""Publishing without delays: short waits, a stub of the board, a cache of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.publisher import stub_site_files
from tests.tools.hubserver import hub as hub  # noqa: PLC0414 - a fixture
from vddbench.hub import client
from vddbench.leaderboard.publish import contents
from vddbench.leaderboard.site import charts

REAL_SITE_FILES = contents.site_files


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contents, "site_files", stub_site_files)
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def real_board(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pages in place of the stub, without charts, which take most of the time."""
    monkeypatch.setattr(contents, "site_files", REAL_SITE_FILES)
    monkeypatch.setattr(charts, "svg", lambda *_: "<svg></svg>")
