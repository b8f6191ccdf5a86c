"""The benchmark of `prepare` runs on a few files, and measures what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.builders.videos import write_folder
from vddbench.data import workers
from vddbench.data.datasets import kinetics400, ssv2, ucf101
from vddbench.data.prepare import prepare
from vddbench.leaderboard.studies.bench import decoding, memory, preparing, projection, reads
from vddbench.leaderboard.studies.bench.clips import KINDS, clips, scene
from vddbench.leaderboard.studies.bench.decoding import cpu_seconds, num_frames, on_cores, timed
from vddbench.leaderboard.studies.bench.projection import REAL, Costs, duration, stored_frames

FEW = [replace(kind, count=3, distinct=2, num_frames=(20, 24), size=(64, 48)) for kind in KINDS]
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return clips(tmp_path_factory.mktemp("clips"), FEW)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# The generated videos


def test_there_are_200_videos_in_the_three_codecs_of_real_datasets() -> None:
    assert [(kind.suffix, kind.codec, kind.size) for kind in KINDS] == [
        (".avi", "mpeg4", (320, 240)), (".mp4", "libx264", (320, 240)), (".webm", "libvpx-vp9", (427, 240)),
    ]  # fmt: skip
    assert sum(kind.count for kind in KINDS) == 200


def test_the_same_seed_gives_the_same_moving_pixels_and_nothing_is_flat() -> None:
    one, same, other = (list(scene(np.random.default_rng(seed), 5, 64, 48)) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert all(frame.shape == (48, 64, 3) and frame.std() > 10 for frame in one)
    assert all(np.abs(b.astype(int) - a).mean() > 1 for a, b in pairwise(one))


def test_few_videos_are_encoded_and_the_others_are_copies(files: dict[str, list[Path]]) -> None:
    for paths in files.values():
        first, second, third = (path.read_bytes() for path in paths)
        assert first == third != second


def test_kept_videos_are_not_made_again(files: dict[str, list[Path]]) -> None:
    folder = files[".avi"][0].parent
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert clips(folder, FEW) == files
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


# What is timed


def test_cpu_seconds_are_those_of_processes_that_were_waited_for() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    took = timed(lambda: subprocess.run([sys.executable, "-c", spin], check=True).args[0])
    assert took.cpu >= 0.3 and took.output == sys.executable
    assert cpu_seconds() >= took.cpu


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system doesn't keep processes on cores")
def test_what_runs_on_one_core_is_told_so_and_afterwards_on_all() -> None:
    before = os.sched_getaffinity(0)
    with on_cores(1):
        assert workers.num_cores() == 1
    assert os.sched_getaffinity(0) == before


def test_a_part_that_fails_says_why() -> None:
    with pytest.raises(ValueError, match="no such luck"):
        decoding.in_python("raise OSError('no such luck')")


# Memory


@needs_proc
def test_peaks_are_those_of_the_processes_and_of_theirs() -> None:
    fill = "import time; held = bytes(range(256)) * 200_000; time.sleep(0.5)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {fill!r}], check=True)"
    watch = memory.Watch()
    with watch:
        decoding.in_python(child)
    parent, grandchild = watch.peaks()
    assert 5 < parent < 40 and 51 < grandchild < 90  # MB


def test_no_more_decoded_videos_wait_on_the_disk_than_four_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So scratch space and memory don't grow with a dataset."""
    seen: list[int] = []
    first = workers._first

    def counted(waiting: Sequence[object]) -> object:
        seen.append(len(waiting))
        found = first(waiting)  # type: ignore[arg-type]
        seen.append(sum(1 for part in waiting[0][1].parent.iterdir() if part.is_file()) + 1)  # type: ignore[index]
        return found

    monkeypatch.setattr(workers, "_first", counted)
    folder = write_folder(tmp_path / "clips", train=9)
    prepare("clips", folder=folder, frames=8, size=16, stride=1, workers=1)
    assert len(seen) == 2 * 20 and max(seen) == workers.IN_FLIGHT


# Projections


def test_what_real_datasets_store_follows_from_the_plan_of_their_geometry() -> None:
    assert stored_frames(ucf101.SPEC, 186) == 47 and stored_frames(ucf101.SPEC, 95) == 24
    assert stored_frames(ucf101.SPEC, 29) == 29  # every frame of a short one
    assert stored_frames(kinetics400.SPEC, 300) == stored_frames(ssv2.SPEC, 48) == 8
    assert {real.name: real.num_videos for real in REAL} == {
        "ucf101": 13_320, "miniucf": 6_523, "hmdb51": 5_100, "hmdb51_sdd": 6_766, "kinetics400": 240_000, "ssv2": 193_690,
    }  # fmt: skip


def test_more_cores_take_less_time_until_the_appending_process_is_the_slowest() -> None:
    costs = Costs(decoding=dict.fromkeys(decoding.CASES, 3600 / (13_320 * 186)), appending={112: 360 / 13_320, 64: 0.0})
    row = projection.row(REAL[0], costs)
    told = dict(zip(projection.HEADERS, row, strict=True))
    assert [told[f"{n} core{'s' * (n > 1)}"] for n in projection.CORES] == ["1.1 h", "33 min", "8 min", "6 min"]
    assert told["stored frames"] == "626,040" and told["GB"] == "23.6"


def test_larger_videos_than_those_measured_take_longer_by_their_pixels() -> None:
    kinetics = next(real for real in REAL if real.name == "kinetics400")
    assert projection.larger(kinetics) == pytest.approx(340 * 256 / (320 * 240))
    assert "x1.13" in projection.row(kinetics, Costs(decoding={kinetics.case: 1e-4}, appending={64: 0.0}))[4]


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (61, "1 min"), (3600, "1.0 h"), (36_000, "10.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# The whole


@needs_proc
@pytest.mark.slow
def test_the_benchmark_prints_its_tables_without_an_ffmpeg_command_too(
    files: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoding, "has_ffmpeg", lambda: False)
    monkeypatch.setattr(reads, "ROUNDS", 2)
    preparing.run(files[".avi"][0].parent, kinds=FEW, rounds=1, times=1, lists=[1000])
    out, err = capsys.readouterr()
    assert "no ffmpeg command here" in err
    assert all(f"3 {suffix} of {num_frames(paths)} frames" in out for suffix, paths in files.items())
    tables = [rows_of(text) for text in re.findall(r"\n\n(\|.*?)\n(?!\|)", out, re.DOTALL)]
    assert [len(rows) for rows in tables] == [6, 4, 2, 4, 5, 6]
    whole, alone, cores, reading, peaks, projected = tables
    assert all((threaded, theirs) == ("-", "-") and float(ours) > 0 for _, _, _, threaded, theirs, ours, _, _ in whole)
    assert all(theirs == "-" and int(ours) > 0 for _, _, theirs, ours, _ in alone)
    assert [row[0] for row in cores] == ["1", "2"] and cores[0][2:] == ["1.00"] * 3
    assert all(float(rate) > 0 for _, rate, _ in reading)
    assert all(50 < float(peak) < 1000 for _, peak, _ in peaks if "workers" not in peak)
    assert [row[0] for row in projected] == [real.name for real in REAL]


def rows_of(table: str) -> list[list[str]]:
    """Of a table in Markdown, without its heading."""
    return [[cell.strip().replace(",", "") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg command")
def test_the_ffmpeg_command_reads_the_generated_videos(files: dict[str, list[Path]], tmp_path: Path) -> None:
    for paths in files.values():
        assert decoding.by_ffmpeg(paths, 2) == "" and decoding.by_one_ffmpeg(paths, tmp_path) == ""
