"""Frames/s of `prepare` against the ffmpeg command, and on two cores against one: a part of `bench --prepare`.

One process or worker runs on the first core that this process may use, two run on the first two cores, so a rate belongs to a
known number of cores. CPU seconds include all processes and their start. On a busy machine they are more reliable than the
clock.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal

from vddbench.data.build import build_store
from vddbench.data.datasets import kinetics400, ssv2, ucf101
from vddbench.data.decode import Geometry, decoded, opened
from vddbench.data.stored_frames import store_video
from vddbench.spec import DatasetSpec, Video
from vddbench.system.home import home

GEOMETRIES = {"ucf101": ucf101.SPEC, "kinetics400": kinetics400.SPEC, "ssv2": ssv2.SPEC}
WHOLE = ((".avi", "ucf101"), (".mp4", "ucf101"), (".webm", "ssv2"))
CASES = (*WHOLE, (".mp4", "kinetics400"))
Case = tuple[str, str]
HEADERS_FFMPEG = (
    "codec", "clips as", "processes and cores", "one ffmpeg, its own threads, frames/s", "ffmpeg frames/s", "prepare frames/s",
    "prepare / ffmpeg", "by CPU seconds",
)  # fmt: skip
HEADERS_ALONE = ("codec", "clips as", "ffmpeg, CPU us/frame", "a worker, CPU us/frame", "worker / ffmpeg")
HEADERS_CORES = ("workers and cores", "frames/s in prepare", "times one", "whole command, times one", "CPU seconds, times one")


@dataclass(frozen=True, kw_only=True)
class Took:
    """One run: seconds by the clock, CPU seconds of all its processes, and what it printed."""

    wall: float
    cpu: float
    output: str


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keeps this process and those it starts on the first `count` cores, on systems that allow it."""
    if not hasattr(os, "sched_setaffinity"):  # macOS
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds() -> float:
    """CPU seconds of this process and of those it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(run: Callable[[], str]) -> Took:
    wall, cpu = time.perf_counter(), cpu_seconds()
    output = run()
    return Took(wall=time.perf_counter() - wall, cpu=cpu_seconds() - cpu, output=output)


def middle(runs: Sequence[Took], what: Literal["wall", "cpu"]) -> float:
    """The median of one of a run's figures."""
    return median(took.wall if what == "wall" else took.cpu for took in runs)


def ratio(theirs: Sequence[Took], ours: Sequence[Took], what: str) -> str:
    """By what factor our runs are faster; "-" if there are no other runs to compare with."""
    return f"{median(getattr(t, what) / getattr(o, what) for t, o in zip(theirs, ours, strict=True)):.2f}" if theirs else "-"


def has_ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None


def ffmpeg(arguments: Sequence[str], threads: str | None = "1") -> str:
    limits = ["-threads", threads, "-filter_threads", threads] if threads else []
    output = ["-vf", "scale=160:120", "-f", "null", "-"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *limits, *arguments, *output], check=True)
    return ""


def by_ffmpeg(files: list[Path], processes: int, threads: str | None = "1") -> str:
    """Decodes with one ffmpeg process per file, `processes` at once."""
    with ThreadPoolExecutor(processes) as pool:
        return "".join(pool.map(lambda file: ffmpeg(["-i", str(file)], threads), files))


def by_one_ffmpeg(files: list[Path], folder: Path) -> str:
    """Decodes with one ffmpeg process for all files, so that starting it does not count."""
    names = folder / "files.txt"
    names.write_text("".join(f"file '{file.resolve()}'\n" for file in files))
    return ffmpeg(["-f", "concat", "-safe", "0", "-i", str(names)])


def by_worker(files: list[Path], spec: DatasetSpec, folder: Path) -> str:
    """Does the work of a worker of `prepare` in this process. Starts no process and appends nothing to a store."""
    geometry = Geometry.of(spec)
    for file in files:
        store_video(file, geometry, folder / "part")
    return ""


def by_prepare(files: list[Path], spec: DatasetSpec, workers: int) -> str:
    """Runs `prepare` in a process of its own, into $VDDBENCH_HOME/prepared/bench. Returns what `prepare_here` prints."""
    shutil.rmtree(home() / "prepared", ignore_errors=True)
    job = json.dumps({"files": list(map(str, files)), "spec": spec.model_dump(mode="json"), "workers": workers})
    return in_python("from vddbench.leaderboard.studies.bench.decoding import prepare_here; prepare_here()", job)


def in_python(program: str, given: str = "") -> str:
    """Runs a Python process that reads `given` on stdin, and returns its output. Raises ValueError if the process fails."""
    run = subprocess.run([sys.executable, "-c", program], input=given, text=True, capture_output=True, check=False)
    if run.returncode:
        raise ValueError(f"a part of the benchmark failed: {run.stderr[-2000:]}")
    return run.stdout


def prepare_here() -> None:
    """Prepares the job on stdin. Prints JSON: seconds, CPU seconds of this process without its imports, and the digest."""
    job = json.load(sys.stdin)
    paths = [Path(file) for file in job["files"]]
    spec = two_classes(DatasetSpec.model_validate(job["spec"]))
    parts = ["test" if i % 5 == 2 else "train" for i in range(len(paths))]
    videos = [Video(id=f"{i:05d}", path=path, label=i % 2, split=parts[i]) for i, path in enumerate(paths)]  # type: ignore[arg-type]
    cpu = time.process_time()
    prepared = build_store("bench", spec, videos, workers=job["workers"])
    result = {"seconds": prepared.seconds, "cpu": time.process_time() - cpu, "digest": prepared.store.digest}
    print(json.dumps(result))


def two_classes(spec: DatasetSpec) -> DatasetSpec:
    """The spec with the same geometry for generated videos of two classes."""
    none: dict[str, object] = {"num_videos": None, "num_missing": None, "validation_groups": ()}
    return spec.model_copy(update={"class_names": ("a", "b"), **none})


def prepared(files: list[Path], spec: DatasetSpec) -> float:
    """CPU seconds that the appending process of one `prepare` takes on one core."""
    with on_cores(1):
        return appending_cpu([timed(partial(by_prepare, files, spec, 1))])


def num_frames(files: list[Path]) -> int:
    """Frames of all files together."""
    count = 0
    for file in files:
        with opened(file) as (container, stream):
            count += sum(1 for _ in decoded(container, stream))
    return count


def against_ffmpeg(
    files: dict[str, list[Path]], frames: dict[str, int], rounds: int
) -> tuple[list[list[str]], dict[Case, float]]:
    """(rows of HEADERS_FFMPEG, which compare whole commands; CPU seconds of the appending process on one core by case)."""
    rows, appending = [], {}
    for suffix, name in WHOLE:
        for processes in (1, 2):
            theirs, ours, threaded = [], [], []
            with on_cores(processes):
                for _ in range(rounds):
                    theirs += [timed(partial(by_ffmpeg, files[suffix], processes))] if has_ffmpeg() else []
                    ours.append(timed(partial(by_prepare, files[suffix], GEOMETRIES[name], processes)))
                threaded += [timed(partial(by_ffmpeg, files[suffix], 1, None))] if has_ffmpeg() and processes > 1 else []
            rates = [f"{frames[suffix] / middle(arm, 'wall'):,.0f}" if arm else "-" for arm in (threaded, theirs, ours)]
            rows.append([suffix, name, str(processes), *rates, ratio(theirs, ours, "wall"), ratio(theirs, ours, "cpu")])
            if processes == 1:
                appending[suffix, name] = appending_cpu(ours)
    return rows, appending


def appending_cpu(arm: Sequence[Took]) -> float:
    """CPU seconds of the appending process, without its imports."""
    return median(float(json.loads(took.output)["cpu"]) for took in arm)


def alone(
    files: dict[str, list[Path]], frames: dict[str, int], rounds: int, folder: Path
) -> tuple[list[list[str]], dict[Case, float]]:
    """(rows of HEADERS_ALONE, a worker's CPU seconds per source frame, by case)."""
    rows, costs = [], {}
    with on_cores(1):
        for suffix, name in CASES:
            theirs, ours = [], []
            for _ in range(rounds):
                theirs += [timed(partial(by_one_ffmpeg, files[suffix], folder))] if has_ffmpeg() else []
                ours.append(timed(partial(by_worker, files[suffix], two_classes(GEOMETRIES[name]), folder)))
            costs[suffix, name] = middle(ours, "cpu") / frames[suffix]
            rates = [f"{middle(arm, 'cpu') / frames[suffix] * 1e6:,.0f}" if arm else "-" for arm in (theirs, ours)]
            rows.append([suffix, name, *rates, ratio(theirs, ours, "cpu")])
    return rows, costs


def two_cores(files: list[Path], frames: int, rounds: int) -> tuple[list[list[str]], float]:
    """(rows of HEADERS_CORES, CPU seconds of the appending process). Leaves the store for other measurements."""
    runs: dict[int, list[Took]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, arm in runs.items():
            with on_cores(workers):
                arm.append(timed(partial(by_prepare, files, ucf101.SPEC, workers)))
    results = {workers: [json.loads(took.output) for took in arm] for workers, arm in runs.items()}
    digests = {result["digest"] for arm in results.values() for result in arm}
    assert len(digests) == 1, "the number of workers changed the store"
    rows = []
    for workers, arm in runs.items():
        pairs = zip(results[1], results[workers], strict=True)
        times = f"{median(one['seconds'] / two['seconds'] for one, two in pairs):.2f}"
        rate = frames / median(result["seconds"] for result in results[workers])
        cpu = median(mine.cpu / one.cpu for one, mine in zip(runs[1], arm, strict=True))
        rows.append([str(workers), f"{rate:,.0f}", times, ratio(runs[1], arm, "wall"), f"{cpu:.2f}"])
    return rows, appending_cpu(runs[1])
