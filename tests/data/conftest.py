"""Fixtures of the data room: a home of their own, and a test server with small datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.hub_videos import cut_ucf, write_ucf
from tests.builders.videos import write_video
from tests.tools.hubserver import Hub, at, serving
from vddbench.data.prepare import prepare


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A VDDBENCH_HOME of this test alone."""
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Hub]:
    """A fresh Hub on loopback, and a client in this process that is signed in."""
    with serving() as hub, at(hub.url, tmp_path / "hf"):
        yield hub


@pytest.fixture(scope="session")
def ucf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UCF101, cut down to the 10 clips of `cut_ucf`. Read only."""
    return write_ucf(tmp_path_factory.mktemp("ucf"))


@pytest.fixture(scope="session")
def ucf_digest(ucf: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the store of these local files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VDDBENCH_HOME", str(tmp_path_factory.mktemp("local")))
        cut_ucf(patch)
        return prepare("ucf101", raw=ucf, workers=1).store.digest


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 5 frames, to be linked to under many names."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.avi", 5)
