"""This machine's GPUs or cores: one cell at a time on each, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.builders.cells import StandIn
from tests.builders.submissions import written
from vddbench.cluster import jobs, local
from vddbench.cluster.jobs import Job, Resources
from vddbench.cluster.local import Pool, Slot, free_slots, slots
from vddbench.cluster.plan import Run, evaluations, write_plan
from vddbench.cluster.site import resources
from vddbench.cluster.status import status

MAKES_IT = "made.write_text('x')"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Job]:
    monkeypatch.setattr("vddbench.cluster.status.is_made", lambda run, cell: run.made(cell).exists())
    path = written(tmp_path / "submissions")
    run, _ = write_plan(tmp_path / "run", evaluations([path], ["convnet3d"], range(6)), tmp_path)
    job = jobs.next_job(run, "local", [[i] for i in range(6)], Resources(), 0.0)
    jobs.add_job(run, job)
    return run, job


def work(run: Run, job: Job, given: Sequence[Slot], look: Callable[[], None] = lambda: None) -> None:
    with local.held(run, job) as lock:
        Pool(run, job, given, lock).work(look)


def test_a_slot_is_a_gpu_or_its_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [slot.environment for slot in slots(["0", "3"], 1, None)] == [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in "03"]
    assert [slot.name for slot in slots(["0", "3"], 2, None)] == ["0", "3", "0", "3"]
    assert len(slots(list("01234567"), 1, 2)) == 2
    cores = len(os.sched_getaffinity(0))
    assert slots([], 1, None)[0].environment == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(cores)}
    assert len(slots([], 1, 3)) == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 1,GPU-abc, 1,7")
    assert local.visible_gpus() == ["1", "GPU-abc", "7"]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: X (UUID: GPU-00)'; echo 'GPU 1: X (UUID: GPU-11)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert local.visible_gpus() == ["GPU-11", "GPU-abc", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert local.visible_gpus() == ["GPU-00", "GPU-11"]


def test_two_cells_are_never_on_one_device_and_each_sees_its_own(
    given: tuple[Run, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in takes a file a device, which fails when another one has it."""
    body = f"""
        device = Path({str(tmp_path)!r}) / f"device-{{os.environ['CUDA_VISIBLE_DEVICES']}}"
        os.close(os.open(device, os.O_CREAT | os.O_EXCL))
        time.sleep(0.2)
        device.unlink()
        made.write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    """
    StandIn(monkeypatch, body)
    run, job = given
    work(run, job, slots(["0", "1"], 1, None))
    assert status(run).counts["done"] == 6
    assert {run.made(cell).read_text() for cell in run.cells} == {"0", "1"}


def test_stopped_a_pool_saves_what_runs_and_can_go_on(given: tuple[Run, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    run, job = given
    begun = threading.Event()

    def look() -> None:
        if any((run.path / "events").glob("*")):
            begun.set()
            raise KeyboardInterrupt

    StandIn(monkeypatch, "sys.stdin.read()\nsys.exit(75)")
    with pytest.raises(KeyboardInterrupt):
        work(run, job, slots(["0"], 1, None), look)
    assert begun.is_set() and not local.is_alive(run, job)
    found = status(run)
    assert found.failed == {"interrupted": 1, "lost": 5}  # the one that ran, and those that had not begun
    StandIn(monkeypatch, MAKES_IT)
    work(run, job, slots(["0"], 1, None))
    assert status(run).counts["done"] == 6


def test_a_gpu_that_another_run_uses_is_left_out(tmp_path: Path) -> None:
    wanted = slots(["0", "1"], 1, None)
    with ExitStack() as first, ExitStack() as second:
        assert [slot.name for slot in free_slots(wanted[:1], tmp_path, first)] == ["0"]
        assert [slot.name for slot in free_slots(wanted, tmp_path, second)] == ["1"]
    with ExitStack() as third:
        assert [slot.name for slot in free_slots(wanted, tmp_path, third)] == ["0", "1"]


def test_a_gpu_is_kept_while_a_cell_outlives_its_pool(given: tuple[Run, Job], tmp_path: Path) -> None:
    run, job = given
    with local.held(run, job) as lock:
        cell = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    assert local.is_alive(run, job)  # the pool was killed; its cell saves its student
    cell.communicate(b"\n")
    assert not local.is_alive(run, job)


def test_what_cannot_be_shown_does_not_stop_a_pool(given: tuple[Run, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("squeue: authentication error")

    StandIn(monkeypatch, MAKES_IT)
    work(*given, slots(["0"], 1, None), broken)
    assert status(given[0]).counts["done"] == 6


def test_a_sites_settings_stand_in_one_file_and_options_go_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert resources(cpus=3) == Resources(cpus=3)
    file = tmp_path / "vddbench" / "cluster.toml"
    file.parent.mkdir()
    file.write_text('partition = "gpu"\ncpus = 8\nsetup = ["module load cuda"]\n')
    assert resources(cpus=2, mem=None) == Resources(partition="gpu", cpus=2, setup=("module load cuda",))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cpus = 0", "cpus: .*greater than"),
        ("memory = 3", "memory: .*allowed: gpus, cpus, mem"),
        ("cpus = = 3", "not TOML"),
        ("setup = 'module'", "setup: "),
    ],
)
def test_wrong_settings_are_refused_by_name(text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "vddbench").mkdir()
    (tmp_path / "vddbench" / "cluster.toml").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        resources()
