"""Stores and submissions that many tests read. Everything lives in a temporary VDDBENCH_HOME."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.builders.hub import peer as peer  # noqa: PLC0414 - a fixture for several rooms
from tests.builders.stores import SIZE, longer
from vddbench.data.build import build_store
from vddbench.data.datasets import movingshapes
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.spec import Task

torch.set_num_threads(1)  # on networks this small a second thread costs more than it does
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background; interrupted children would not hear
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["OMP_NUM_THREADS"] = "1"  # and in the processes that tests start


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("needs a GPU that PyTorch can use")


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing a test does may touch the user's own prepared data."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("VDDBENCH_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def forgetful(home: Path) -> None:
    """Each test starts without remembered repositories."""
    (home / "settings.json").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def tiny(home: Path) -> Store:
    """movingshapes cut down to SIZE pixels, 6 train, 2 validation and 4 test videos a class, and to 2 steps of training."""
    kept = {"train": 6, "validation": 2, "test": 4}
    videos = [v for v in movingshapes.videos(Path()) if int(v.id[-3:]) < kept[v.id.split("/")[0]]]
    steps = {"1": 2, "5": 2, "10": 2, "full": 2}
    spec = movingshapes.SPEC.model_copy(update={"num_videos": None, "student_steps": steps, "size": SIZE})
    return build_store("tiny", spec, videos, render=longer).store


@pytest.fixture(scope="session")
def tiny_random(tiny: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submission of `random` on tiny-ipc1."""
    return distill("random", Task(dataset="tiny", ipc=1), 0, tmp_path_factory.mktemp("submissions"))
