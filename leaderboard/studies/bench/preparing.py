"""`bench --prepare`: decoding against the ffmpeg command, two cores against one, reads of clips, memory, and projections.

It measures 200 generated videos (clips.py). Figures are medians over rounds that alternate what is compared, so that drift of
the machine affects both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tabulate import tabulate

from vddbench.data.datasets import ssv2
from vddbench.data.workers import num_cores
from vddbench.leaderboard.studies.bench import decoding, memory, projection, reads
from vddbench.leaderboard.studies.bench.clips import KINDS, Kind, clips
from vddbench.system.device import device_name
from vddbench.system.home import temporary_home
from vddbench.system.progress import bar, say

ROUNDS = 3
TIMES = 2  # how often avi and mp4 are listed for two cores against one, so that starting weighs less, as in real datasets
LISTS = (193_690, 266_440)  # lengths of the lists of ssv2 and kinetics400
FFMPEG = "Whole commands, one process per file of `ffmpeg -threads 1 -i F -vf scale=160:120 -f null -` against one `prepare`"
ALONE = "Without starting, on one core: an ffmpeg for all files against what a worker does"


def print_table(title: str, headers: Sequence[str], rows: list[list[str]]) -> None:
    print(f"\n{title}\n\n{tabulate(rows, headers, 'github', disable_numparse=True)}", flush=True)


def run(
    keep: Path | None = None,
    *,
    kinds: Sequence[Kind] = KINDS,
    rounds: int = ROUNDS,
    times: int = TIMES,
    lists: Sequence[int] = LISTS,
) -> None:
    """Prints the tables as Markdown. keep: folder of generated videos to reuse. lists: lengths of made-up lists of videos."""
    with temporary_home() as folder:
        measure(folder, clips(keep or folder / "clips", kinds), rounds, times, lists)


def measure(folder: Path, files: dict[str, list[Path]], rounds: int, times: int, lists: Sequence[int]) -> None:
    """Measures the files, by suffix, and prints the tables. folder: for files in between."""
    frames = {suffix: decoding.num_frames(paths) for suffix, paths in files.items()}
    counts = ", ".join(f"{len(files[suffix])} {suffix} of {frames[suffix]:,} frames" for suffix in files)
    print(f"{device_name(torch.device('cpu'))}, {num_cores()} cores; {counts}; medians of {rounds} rounds")
    if not decoding.has_ffmpeg():
        say("no ffmpeg command here to compare with", style="yellow")
    many = (files[".avi"] + files[".mp4"]) * times
    with bar("bench", 6) as progress:
        rows, few = decoding.against_ffmpeg(files, frames, rounds)
        print_table(FFMPEG, decoding.HEADERS_FFMPEG, rows)
        progress.advance()
        rows, seconds = decoding.alone(files, frames, rounds, folder)
        print_table(ALONE, decoding.HEADERS_ALONE, rows)
        progress.advance()
        small = decoding.prepared(files[".webm"] * 2 * times, ssv2.SPEC)
        rows, large = decoding.two_cores(many, times * (frames[".avi"] + frames[".mp4"]), rounds)
        print_table(f"Two cores against one: {len(many)} videos, avi and mp4", decoding.HEADERS_CORES, rows)
        progress.advance()
        print_table("Batches of 64 random clips of 16x112x112", reads.HEADERS, reads.rows())
        progress.advance()
        print_table("Memory", memory.HEADERS, memory.rows(many, lists))
        progress.advance()
        appending = {
            112: more(few[".avi", "ucf101"], len(files[".avi"]), large, len(many)),
            64: more(few[".webm", "ssv2"], len(files[".webm"]), small, len(files[".webm"]) * 2 * times),
        }
        costs = projection.Costs(decoding=seconds, appending=appending)
        print_table(projection.TITLE, projection.HEADERS, projection.rows(costs))
        progress.advance()


def more(few: float, num_few: int, many: float, num_many: int) -> float:
    """Seconds that one more video takes, from those of few videos and of many."""
    return max(0.0, (many - few) / (num_many - num_few))
