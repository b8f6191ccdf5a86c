"""Fills `frames.bin`: workers decode the videos, this process appends their frames in order and writes the journal."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from vddbench.data.decode import UnreadableVideo
from vddbench.data.journal import Journal
from vddbench.data.sources.source import Source
from vddbench.data.workers import Render, decoded_videos, rendered_videos
from vddbench.spec import DatasetSpec, Video
from vddbench.system.home import check_space
from vddbench.system.progress import bar, say


def fill(
    journal: Journal,
    folder: Path,
    spec: DatasetSpec,
    videos: dict[str, Video],
    render: Render | None,
    source: Source,
    workers: int,
) -> dict[str, str]:
    """Stores every video that the journal lacks; returns id -> reason for those that cannot be read."""
    if journal.started_over:
        say("the interrupted run had other options or videos: starting over", style="yellow")
    if journal.rows:
        say(f"resuming: {len(journal.rows):,} of {len(videos):,} videos are stored already")
    problems: dict[str, str] = {}
    while todo := [v for v in videos.values() if v.id not in journal.rows and v.id not in problems]:  # make_room may add videos
        check_space(folder, len(todo) * spec.clip_bytes)
        problems |= store_videos(journal, folder, spec, videos, todo, render, source, workers)
    return problems


def store_videos(
    journal: Journal,
    folder: Path,
    spec: DatasetSpec,
    videos: dict[str, Video],
    todo: list[Video],
    render: Render | None,
    source: Source,
    workers: int,
) -> dict[str, str]:
    """Stores the videos of `todo` in the order in which `source` gives them; returns id -> reason for the unreadable ones."""
    parts = Path(tempfile.mkdtemp(prefix="parts.", dir=folder))  # used by this process alone
    workers = min(workers, len(todo))
    files = source.files(todo, parts / "fetched")
    decoded = decoded_videos(files, spec, parts, workers, keep=source.keep)
    finished = rendered_videos(todo, spec, render) if render else decoded
    problems: dict[str, str] = {}
    notes: defaultdict[str, list[str]] = defaultdict(list)  # note -> videos
    started = time.monotonic()
    try:
        with closing(files), closing(finished), bar("preparing", len(todo)) as progress:
            for video, outcome, frames in finished:
                with frames:
                    if isinstance(outcome, UnreadableVideo):
                        problems[video.id] = str(outcome)
                    else:
                        check_space(folder, 0)
                        if video.split == "train":
                            make_room(journal, videos)
                        journal.append(video.id, outcome, frames)
                        if outcome.num_guessed:
                            notes["have damaged frames, which the decoder has guessed"].append(video.id)
                        if outcome.note:
                            notes[outcome.note].append(video.id)
                rate = (progress.done + 1) / (time.monotonic() - started)
                unreadable = f", {len(problems)} unreadable" if problems else ""
                progress.advance(note=f"{rate:.1f} videos/s{source.note()}{unreadable}")
    finally:
        shutil.rmtree(parts, ignore_errors=True)  # the parts of an interrupted run would fill the disk
    for note, noted in notes.items():
        first = ", ".join(noted[:10]) + (", ..." if len(noted) > 10 else "")
        say(f"warning: {len(noted):,} videos {note}: {first}", style="yellow")
    return problems


def make_room(journal: Journal, videos: dict[str, Video]) -> None:
    """Removes the stored test videos before a training video is appended that an earlier run could not read.

    They are written again later. The training part of `frames.bin` is mapped without the test part, so it must be contiguous.
    """
    last = next(reversed(journal.rows), None)
    if last is None or videos[last].split == "train":
        return
    num_train = sum(videos[video].split == "train" for video in journal.rows)
    say(f"training videos that were unreadable before come first: storing {len(journal.rows) - num_train:,} test videos again")
    journal.keep(num_train)
