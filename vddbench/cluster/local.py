"""Runs cells on this machine: one process per GPU or, without GPUs, one process per share of the cores."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from vddbench.cluster.jobs import Job, lock_file
from vddbench.cluster.plan import Run
from vddbench.cluster.worker import Stop, Worker
from vddbench.system.gpus import listed_gpus
from vddbench.system.locks import locked
from vddbench.system.progress import say

POLL_SECONDS = 0.5
SHOW_SECONDS = 10.0


@dataclass(frozen=True)
class Slot:
    """A GPU, a part of one, or a share of the cores: runs one cell at a time."""

    name: str
    environment: dict[str, str]
    is_gpu: bool
    lock: int | None = None  # file descriptor: the GPU is locked while this process or a cell on it keeps it open


def slots(gpus: Sequence[str], per_gpu: int, most: int | None) -> list[Slot]:
    """`per_gpu` slots per GPU, or equal shares of the cores (unless OMP_NUM_THREADS is set); at most `most` slots."""
    if gpus:
        return [Slot(gpu, {"CUDA_VISIBLE_DEVICES": gpu}, True) for _ in range(per_gpu) for gpu in gpus][:most]
    from vddbench.data.workers import num_cores

    count = most or 1
    threads = max(1, num_cores() // count)
    environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    return [Slot(f"cpu{i}", environment, False) for i in range(count)]


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs that CUDA_VISIBLE_DEVICES allows, or its own entries for GPUs that the driver does not list.

    UUIDs, because a number can mean another GPU in another process. They come from the driver, because torch would allocate
    memory on the GPUs.
    """
    uuids = {gpu.number: gpu.uuid for gpu in listed_gpus()}
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return list(uuids.values())
    names = [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in {"", "-1"}]
    return list(dict.fromkeys(uuids.get(name, name) for name in names))


class Holding(ExitStack):
    """Keeps GPUs and local jobs locked until it is closed, or until the last of their cells ends if that is later."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, int] = {}  # file descriptor by the job's number

    def hold(self, run: Run, job: Job) -> None:
        self.jobs[job.number] = self.enter_context(locked(lock_file(run, job)))

    def free_slots(self, wanted: Sequence[Slot], home: Path) -> list[Slot]:
        """Locks the GPUs of the slots and returns those that no other run uses."""
        locks: dict[str, int | None] = {}
        for name in dict.fromkeys(slot.name for slot in wanted if slot.is_gpu):
            try:
                locks[name] = self.enter_context(locked(home / "locks" / f"{socket.gethostname()}-{name}.lock", wait=False))
            except BlockingIOError:
                say(f"{name} is used by another run: left out", style="yellow")
                locks[name] = None
        free = [slot for slot in wanted if not slot.is_gpu or locks[slot.name] is not None]
        return [replace(slot, lock=locks.get(slot.name)) for slot in free]


class Pool:
    """Works on the tasks of one job with a thread for each slot. When it is stopped, running cells save their students."""

    def __init__(self, run: Run, job: Job, slots: Sequence[Slot], job_lock: int) -> None:
        self.run, self.job, self.stop, self.job_lock = run, job, Stop(), job_lock
        self.tasks: SimpleQueue[tuple[int, ...]] = SimpleQueue()
        for task in job.tasks:
            self.tasks.put(task)
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._serve, args=(slot,), name=slot.name) for slot in slots]

    def work(self, show: Callable[[], None], seconds: float = SHOW_SECONDS) -> None:
        """Returns when all tasks are over. Calls `show` repeatedly. Raises KeyboardInterrupt once running cells are saved."""
        next_show = 0.0
        for thread in self.threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in self.threads):
                if time.monotonic() >= next_show:
                    with suppress(ValueError, OSError):  # a failure to show progress does not stop the work
                        show()
                    next_show = time.monotonic() + seconds
                time.sleep(POLL_SECONDS)
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
        locks = [self.job_lock] if slot.lock is None else [self.job_lock, slot.lock]
        worker = Worker(self.run, self.job.number, self.stop, slot.environment, slot.is_gpu, locks)
        while not self.stop.asked:
            try:
                worker.work([self.run.cells[index] for index in self.tasks.get_nowait()])
            except Empty:
                return
            except (OSError, ValueError) as error:  # the run's own folder is full, missing or damaged
                self.errors.append(error)
                self.stop.asked = True
