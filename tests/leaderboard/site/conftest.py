"""A small built site with honest entries, a harmful one, and the payload of `random`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.builders.sites import write_harmful_entry, write_records, write_verified
from vddbench.data.store import Store
from vddbench.leaderboard.site import charts
from vddbench.leaderboard.site.board import board_of
from vddbench.leaderboard.site.build import build
from vddbench.leaderboard.site.entries import Table
from vddbench.submissions.submission import read


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of files: drawing charts takes most of the time of a build."""
    monkeypatch.setattr(charts, "svg", lambda *_: "<svg></svg>")


@pytest.fixture(scope="session")
def folders(tiny: Store, tiny_random: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/ and submissions/ of four entries, one of them harmful, one with its payload."""
    root = tmp_path_factory.mktemp("made")
    sha = read(tiny_random).manifest.sha256
    write_records(root / "results", tiny, "random", [0.2, 0.2, 0.3], submission_sha256=sha)
    write_records(root / "results", tiny, "good", [0.9, 0.9, 0.95], payload_bytes=1000)
    write_records(root / "results", tiny, "good", [0.7, 0.7], payload_bytes=1000, student="convnet_gru", protocol_hash="3" * 64)
    write_records(root / "results", tiny, "random", [0.3], submission_sha256=sha, student="convnet_gru", protocol_hash="3" * 64)
    write_records(root / "results", tiny, "as_good", [0.9, 0.92, 0.9])
    write_verified(root / "results", "as_good", "maintainer")
    shutil.copytree(tiny_random.parents[1], root / "submissions")
    write_harmful_entry(root, tiny)
    return root


@pytest.fixture(scope="session")
def built_site(folders: Path) -> Path:
    return build([folders / "results"], [folders / "submissions"], folders / "site")


@pytest.fixture(scope="session")
def tables(folders: Path) -> Sequence[Table]:
    [tables] = board_of([folders / "results"]).tables_by_task().values()
    return tables
