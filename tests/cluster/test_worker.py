"""A cell's process can end in many ways; each has an outcome and an answer.

Real cells on a tiny store; stand-ins for endings that cannot be had otherwise, such as memory that runs out.
"""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from tests.builders.cells import StandIn, give, planned
from vddbench.cluster import child
from vddbench.cluster.cells import evaluations
from vddbench.cluster.child import BAD, DISK, INTERRUPTED, NODE, OUT_OF_MEMORY, REFUSED, exit_code_of
from vddbench.cluster.jobs import Attempts, Outcome, read_attempts, write_attempts
from vddbench.cluster.plan import Run, write_plan
from vddbench.cluster.worker import GIVE_UP, Stop, Worker, command
from vddbench.data.store import Store
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.remedies import MemoryRanOut
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import read_record


def real(path: Path, submission: Path, home: Path) -> Run:
    """A run of one cell that can be evaluated."""
    return write_plan(path / "run", evaluations([submission], ["convnet3d"], [0], probes=True), home).run


def work(run: Run, stop: Stop | None = None) -> list[Outcome]:
    """Runs all cells as job 1."""
    return Worker(run, 1, stop or Stop(), {}).work(run.cells)


@pytest.mark.slow
def test_a_cell_gives_the_record_that_evaluate_gives(tiny: Store, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = real(tmp_path, tiny_random, home)
    assert work(run) == ["done"]
    bare = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path / "bare", probes=True)
    record, predictions = read_record(run.made(run.cells[0]))
    expected, same = read_record(bare[0])
    assert record.top1 == expected.top1 and (predictions.top5 == same.top5).all()
    assert record.environment == expected.environment
    assert record.still_top1 == expected.still_top1 is not None
    log = run.log(run.cells[0]).read_text()
    assert "job 1, attempt 1" in log and "top-1" in log and "--- done after" in log
    assert work(run) == ["done"] and read_attempts(run, 1)[0].started == 1  # Slurm may run a task again


@pytest.mark.parametrize(
    ("ending", "outcome", "tries"),
    [
        (f"sys.exit({OUT_OF_MEMORY})", "oom", 3),
        ("os.kill(os.getpid(), 9)", "oom", 3),
        ("os.kill(os.getpid(), 11)", "crash", 2),
        (f"print('field x is missing'); sys.exit({BAD})", "bad", 1),
        ("raise KeyError('ours')", "bug", 1),
        (f"sys.exit({DISK})", "disk", 1),
        (f"sys.exit({NODE})", "node", 1),
        ("sys.exit(0)", "bug", 1),  # exits as if it were done and has made nothing
    ],
)
def test_the_exit_of_a_process_decides_whether_it_is_repeated(
    ending: str, outcome: Outcome, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path)
    body = f"""
        if cell == 1:
            made.write_text("x")
            sys.exit(0)
        {ending}
    """
    StandIn(monkeypatch, body)
    for _ in range(2):  # the second time, Slurm runs the task again: nothing is repeated
        assert work(run) == [outcome, "done"]  # a failed cell does not stop the next one
        attempts = read_attempts(run, 1)
        assert attempts[0].ended == {outcome: tries} and attempts[1].ended == {"done": 1}
    assert ("field x is missing" in attempts[0].tail) == (outcome == "bad")


def test_a_cell_of_a_later_job_is_left_to_that_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planned(tmp_path)
    give(run)
    give(run, cells=[0])
    StandIn(monkeypatch, "made.write_text('x')")
    assert work(run) == ["done", "done"]
    assert list(read_attempts(run, 1)) == [1]


def ran_out(cause: Exception) -> MemoryRanOut:
    """What `distill` raises when memory runs out."""
    error = MemoryRanOut("this machine's memory ran out")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "x"), OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), NODE),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), NODE),
        (RuntimeError("shapes do not fit"), None),
        (OSError(errno.ENOSPC, "x"), DISK),
        (FileNotFoundError("not mounted"), DISK),
        (PermissionError(errno.EACCES, "x"), BAD),
        (ValueError("field x"), BAD),
        (CannotServe("the budget is too small"), REFUSED),
        (LookupError("no student"), BAD),
        (ran_out(MemoryError()), OUT_OF_MEMORY),
    ],
)
def test_errors_of_a_cell_have_exit_codes(error: Exception, code: int | None) -> None:
    assert exit_code_of(error) == code


def test_a_missing_gpu_fails_the_cell_instead_of_training_on_the_cpu(
    tiny: Store, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = real(tmp_path, tiny_random, home)
    assert Worker(run, 1, Stop(), {"CUDA_VISIBLE_DEVICES": ""}, needs_gpu=True).work(run.cells) == ["node"]
    assert "sees none" in read_attempts(run, 1)[0].tail


def test_memory_that_runs_out_halves_the_micro_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planned(tmp_path, seeds=1)
    StandIn(monkeypatch, f"if halvings < 2:\n    sys.exit({OUT_OF_MEMORY})\nmade.write_text('x')")
    assert work(run) == ["done"]
    assert read_attempts(run, 1)[0].ended == {"oom": 2, "done": 1}


def test_a_stopped_task_leaves_its_other_cells_and_many_starts_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path)
    StandIn(monkeypatch, f"sys.stdin.read()\nsys.exit({INTERRUPTED})")  # waits for the end of its standard input
    for _ in range(2):
        stop = Stop()
        threading.Timer(0.3, lambda stop=stop: setattr(stop, "asked", True)).start()
        assert work(run, stop) == ["interrupted"]
    attempts = read_attempts(run, 1)[0]
    assert attempts.ended == {"interrupted": 2}
    write_attempts(run, 1, 0, Attempts(started=GIVE_UP, ended=attempts.ended))  # nodes died: started, never ended
    StandIn(monkeypatch, "made.write_text('x')")
    assert work(run) == ["gave_up", "done"]


def test_a_cells_process_ends_when_its_parent_is_killed(tiny: Store, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = real(tmp_path, tiny_random, home)
    body = f"""
import subprocess, sys, time
child = subprocess.Popen({command(run, run.cells[0], 0, False)!r}, stdin=subprocess.PIPE)
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 60
    while _runs(orphan):
        assert time.monotonic() < until, "the process still runs"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_submission_that_changed_since_it_was_planned_is_refused_before_training(
    tiny: Store, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = real(tmp_path, tiny_random, home)
    makes = run.cells[0].makes.replace("random@", "random@0000000")
    with pytest.raises(ValueError, match=r"changed since it was planned: .*plan a run in another folder"):
        child.run_cell(run, run.cells[0].model_copy(update={"makes": makes}), 0)
