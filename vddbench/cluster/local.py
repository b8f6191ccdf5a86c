"""The cells of a run on this machine: one process a GPU, or a slot of cores where there is none."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from vddbench.cluster.jobs import Job
from vddbench.cluster.plan import Run
from vddbench.cluster.worker import Stop, Worker
from vddbench.system.progress import say

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Slot:
    """Where one cell at a time runs."""

    name: str
    environment: dict[str, str]
    is_gpu: bool
    lock: int | None = None  # file descriptor: the GPU is ours while it, or a cell that was given it, is open


def slots(gpus: Sequence[str], per_gpu: int, most: int | None) -> list[Slot]:
    """One a GPU (or `per_gpu`), else of cores, which they share (unless OMP_NUM_THREADS says otherwise); at most `most`."""
    if gpus:
        return [Slot(gpu, {"CUDA_VISIBLE_DEVICES": gpu}, True) for _ in range(per_gpu) for gpu in gpus][:most]
    count = most or 1
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    return [Slot(f"cpu{i}", environment, False) for i in range(count)]


def visible_gpus() -> list[str]:
    """UUIDs of the GPUs that CUDA_VISIBLE_DEVICES leaves, where the driver tells them: a number is another GPU elsewhere.

    torch is not asked, as it would hold memory on them.
    """
    try:
        shown = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        shown = ""
    there = re.findall(r"^GPU (\d+): .*\(UUID: (\S+)\)", shown, re.MULTILINE)
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return [uuid for _, uuid in there]
    asked = [gpu.strip() for gpu in given.split(",") if gpu.strip() not in {"", "-1"}]
    return list(dict.fromkeys(dict(there).get(gpu, gpu) for gpu in asked))


class Holding(ExitStack):
    """What keeps GPUs and jobs of this machine ours until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, int] = {}  # file descriptor by the job's number

    def hold(self, run: Run, job: Job) -> None:
        self.jobs[job.number] = self.enter_context(held(run, job))


class Pool:
    """The slots at work on the tasks of one job, a thread each. Stopped, running cells are saved."""

    def __init__(self, run: Run, job: Job, slots: Sequence[Slot], held: int) -> None:
        """held: of `held`."""
        self.run, self.job, self.stop, self.held = run, job, Stop(), held
        self.left: SimpleQueue[int] = SimpleQueue()
        for task in range(len(job.tasks)):
            self.left.put(task)
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._serve, args=(slot,), name=slot.name) for slot in slots]

    def work(self, look: Callable[[], None]) -> None:
        """Until all tasks are done. look: called now and then. Raises KeyboardInterrupt after running cells are saved."""
        for thread in self.threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in self.threads):
                with suppress(ValueError, OSError):  # what can't be shown is no reason to stop
                    look()
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
        while not self.stop.asked:
            try:
                task = self.left.get_nowait()
            except Empty:
                return
            try:
                locks = [self.held] if slot.lock is None else [self.held, slot.lock]
                Worker(self.run, self.job, task, self.stop, slot.environment, slot.is_gpu, locks).work()
            except OSError as error:  # the run's own folder: full, or away
                self.errors.append(error)
                self.stop.asked = True


@contextmanager
def held(run: Run, job: Job) -> Iterator[int]:
    """A job is alive while this is held, by its pool or by a cell that outlives it; a file descriptor to hand on."""
    file = lock_file(run, job)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody may just look
        yield lock.fileno()


def is_alive(run: Run, job: Job) -> bool:
    try:
        with lock_file(run, job).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def lock_file(run: Run, job: Job) -> Path:
    return run.path / "jobs" / f"{job.number}.lock"


def free_slots(wanted: Sequence[Slot], home: Path, taken: ExitStack) -> list[Slot]:
    """Those whose GPU no other run works on; they are kept until `taken` is closed and their cells have ended."""
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    locks: dict[str, int | None] = {}
    for name in dict.fromkeys(slot.name for slot in wanted if slot.is_gpu):
        lock = taken.enter_context((folder / f"{socket.gethostname()}-{name}.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locks[name] = lock.fileno()
        except BlockingIOError:
            say(f"{name} is used by another run: left out", style="yellow")
            locks[name] = None
    free = [slot for slot in wanted if not slot.is_gpu or locks[slot.name] is not None]
    return [replace(slot, lock=locks.get(slot.name)) for slot in free]
