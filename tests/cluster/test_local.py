"""On this machine one cell at a time runs on each GPU or share of cores, and every process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.builders.cells import StandIn, give, planned
from vddbench.cluster.jobs import Job, is_alive
from vddbench.cluster.local import Holding, Pool, Slot, slots, visible_gpus
from vddbench.cluster.plan import Run
from vddbench.cluster.resources import Resources, resources
from vddbench.cluster.status import status

MAKES_IT = "made.write_text('x')"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Job]:
    """Six cells and their job."""
    monkeypatch.setattr("vddbench.cluster.local.POLL_SECONDS", 0.05)
    run = planned(tmp_path, seeds=6)
    return run, give(run, "local")


def work(run: Run, job: Job, free: Sequence[Slot], show: Callable[[], None] = lambda: None) -> None:
    with Holding() as holding:
        holding.hold(run, job)
        Pool(run, job, free, holding.jobs[job.number]).work(show, seconds=0)


def test_a_slot_is_a_gpu_or_a_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [slot.environment for slot in slots(["0", "3"], 1, None)] == [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in "03"]
    assert [slot.name for slot in slots(["0", "3"], 2, None)] == ["0", "3", "0", "3"]
    assert len(slots(list("01234567"), 1, 2)) == 2
    cores = len(os.sched_getaffinity(0))
    assert slots([], 1, None)[0].environment == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(cores)}
    assert len(slots([], 1, 3)) == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 1,GPU-abc, 1,7")
    assert visible_gpus() == ["1", "GPU-abc", "7"]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: X (UUID: GPU-00)'; echo 'GPU 1: X (UUID: GPU-11)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert visible_gpus() == ["GPU-11", "GPU-abc", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["GPU-00", "GPU-11"]


def test_two_cells_never_share_a_device_and_each_sees_its_own(
    given: tuple[Run, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in creates a file for its device and fails if another cell has done so. A broken screen changes nothing."""

    def broken() -> None:
        raise ValueError("squeue: authentication error")

    body = f"""
        device = Path({str(tmp_path)!r}) / f"device-{{os.environ['CUDA_VISIBLE_DEVICES']}}"
        os.close(os.open(device, os.O_CREAT | os.O_EXCL))
        time.sleep(0.2)
        device.unlink()
        made.write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    """
    StandIn(monkeypatch, body)
    run, job = given
    work(run, job, slots(["0", "1"], 1, None), broken)
    assert status(run).counts["done"] == 6
    assert {run.made(cell).read_text() for cell in run.cells} == {"0", "1"}


def test_a_stopped_pool_saves_its_running_cells_and_can_resume(given: tuple[Run, Job], monkeypatch: pytest.MonkeyPatch) -> None:
    run, job = given

    def interrupt() -> None:
        if (run.path / "jobs" / str(job.number) / "0.json").exists():
            raise KeyboardInterrupt

    StandIn(monkeypatch, "sys.stdin.read()\nsys.exit(75)")
    with pytest.raises(KeyboardInterrupt):
        work(run, job, slots(["0"], 1, None), interrupt)
    assert not is_alive(run, job)
    assert status(run).failed == {"interrupted": 1, "lost": 5}  # the one that ran, and those that had not started
    StandIn(monkeypatch, MAKES_IT)
    work(run, job, slots(["0"], 1, None))
    assert status(run).counts["done"] == 6


def test_a_gpu_of_another_run_is_left_out(tmp_path: Path) -> None:
    wanted = slots(["0", "1"], 1, None)
    with Holding() as first, Holding() as second:
        assert [slot.name for slot in first.free_slots(wanted[:1], tmp_path)] == ["0"]
        assert [slot.name for slot in second.free_slots(wanted, tmp_path)] == ["1"]
    with Holding() as third:
        assert [slot.name for slot in third.free_slots(wanted, tmp_path)] == ["0", "1"]


def test_a_job_is_alive_while_a_cell_outlives_its_pool(given: tuple[Run, Job]) -> None:
    run, job = given
    with Holding() as holding:
        holding.hold(run, job)
        lock = holding.jobs[job.number]
        cell = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    assert is_alive(run, job)  # the pool was killed; its cell saves its student
    cell.communicate(b"\n")
    assert not is_alive(run, job)


def test_options_override_the_sites_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert resources({"cpus": 3}) == Resources(cpus=3)
    file = tmp_path / "vddbench" / "cluster.toml"
    file.parent.mkdir()
    file.write_text('partition = "gpu"\ncpus = 8\nsetup = ["module load cuda"]\n')
    assert resources({"cpus": 2}) == Resources(partition="gpu", cpus=2, setup=("module load cuda",))


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
