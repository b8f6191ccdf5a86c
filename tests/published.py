"""A submission with real records of it, and a results repo on the test server: what the tests of submit, verify, pull and
reproduce begin with."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hubserver import Hub, at, serving
from vddbench import hub as door
from vddbench.evaluate import evaluate
from vddbench.store import Store
from vddbench.submit import submit

BOARD = "lab/vddbench-results"
SET = "stranger/vddbench-tiny-ipc1-random"
SEEDS = 2


@functools.cache
def _trained(path: Path, results: Path) -> Path:
    evaluate([path], students=["convnet3d"], seeds=range(SEEDS), results=results)
    return results


@pytest.fixture(scope="session")
def trained(tiny: Store, tiny_random: Path) -> Path:
    """results/ with two students of `random` on tiny-ipc1; made once for all files of tests that import this."""
    return _trained(tiny_random, tiny_random.parents[2] / "trained" / "results")


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    """A stranger's own copy of them."""
    return Path(shutil.copytree(trained, tmp_path / "stranger" / "results"))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with an empty results repo of `lab`; nobody waits long. This process is `owner`, who may write there."""
    monkeypatch.setattr(door, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.chdir(tmp_path)
    with serving() as found, at(found.url, tmp_path / "hf"):
        door.create(door.Repo(BOARD))
        found.put(BOARD, {"README.md": b"# the board\n"})
        yield found


def as_stranger(monkeypatch: pytest.MonkeyPatch, who: str = "stranger") -> None:
    monkeypatch.setenv("HF_TOKEN", f"hf_{who}")


def submitted(path: Path, results: Path, *, dry_run: bool = False, repo: str | None = None, who: str = "stranger") -> list[str]:
    """What `vddbench submit` prints, run by the stranger."""
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch, who)
        submit(path, BOARD, repo=repo, results=[results], licence="unknown", dry_run=dry_run, echo=told.append)
    return told
