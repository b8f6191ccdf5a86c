"""The cells of a run on this machine: one process a GPU, or a slot of cores where there is none."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from vddbench.batch.jobs import Job
from vddbench.batch.plan import Run
from vddbench.batch.worker import Stop, Worker
from vddbench.progress import say

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Slot:
    """Where one cell at a time runs."""

    name: str
    environment: dict[str, str]


def slots(gpus: Sequence[str], per_gpu: int, cpu_slots: int) -> list[Slot]:
    """One a GPU (or `per_gpu`), else `cpu_slots` that share the cores (unless OMP_NUM_THREADS says otherwise)."""
    if gpus:
        return [Slot(f"gpu{gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in gpus for _ in range(per_gpu)]
    threads = max(1, len(os.sched_getaffinity(0)) // cpu_slots)
    environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    return [Slot(f"cpu{i}", environment) for i in range(cpu_slots)]


def visible_gpus() -> list[str]:
    """Those of CUDA_VISIBLE_DEVICES, else all that the driver lists; torch is not asked, as it would hold memory on them."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in given.split(",") if gpu.strip() and gpu.strip() != "-1"]
    try:
        shown = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, line in enumerate(line for line in shown.splitlines() if line.startswith("GPU "))]


class Pool:
    """The slots at work on the tasks of one job, a thread each. Stopped, running cells are saved."""

    def __init__(self, run: Run, job: Job, slots: Sequence[Slot]) -> None:
        self.run, self.job, self.stop = run, job, Stop()
        self.left: SimpleQueue[int] = SimpleQueue()
        for task in range(len(job.tasks)):
            self.left.put(task)
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._serve, args=(slot,), name=slot.name) for slot in slots]

    def work(self, look: Callable[[], None]) -> None:
        """Until all tasks are done. look: called now and then. Raises KeyboardInterrupt after running cells are saved."""
        with held(self.run, self.job):
            for thread in self.threads:
                thread.start()
            try:
                while any(thread.is_alive() for thread in self.threads):
                    look()
                    self.threads[0].join(POLL_SECONDS)
            except BaseException:
                self.stop.asked = True
                say("\nstopping: running cells are saved (up to a minute)", style="yellow")
                raise
            finally:
                for thread in self.threads:
                    thread.join()
        if self.errors:
            raise self.errors[0]

    def _serve(self, slot: Slot) -> None:
        while not self.stop.asked:
            try:
                task = self.left.get_nowait()
            except Empty:
                return
            try:
                Worker(self.run, self.job, task, self.stop, slot.environment).work()
            except OSError as error:  # the run's own folder: full, or away
                self.errors.append(error)
                self.stop.asked = True


@contextmanager
def held(run: Run, job: Job) -> Iterator[None]:
    """While this is held the job's pool is alive; it goes with its process."""
    with _lock_file(run, job).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def is_alive(run: Run, job: Job) -> bool:
    try:
        with _lock_file(run, job).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _lock_file(run: Run, job: Job) -> Path:
    return run.path / "jobs" / f"{job.number}.lock"


def free_slots(wanted: Sequence[Slot], home: Path, taken: ExitStack) -> list[Slot]:
    """Those whose GPU no other run of this user's works on; they are kept until `taken` is closed."""
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, IO[str] | None] = {}
    for name in dict.fromkeys(slot.name for slot in wanted if slot.name.startswith("gpu")):
        file = taken.enter_context((folder / f"{socket.gethostname()}-{name}.lock").open("w"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files[name] = file
        except BlockingIOError:
            say(f"{name} is used by another run: left out", style="yellow")
            files[name] = None
    return [slot for slot in wanted if files.get(slot.name, slot)]
