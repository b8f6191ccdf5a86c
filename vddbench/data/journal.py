"""`frames.bin` while it grows, and the journal that lets a killed `prepare` resume.

The frames of a video are appended before its journal line, so the journal never lists frames that are missing. Opening a
journal keeps the longest beginning that is still valid - complete lines, unchanged source files, frames with the recorded
hash - and cuts the rest off both files: a torn line, half a video, blocks that a power cut lost. Videos that could not be read
are not in the journal, so the next run tries them again; if such a video must precede stored videos, `keep` makes room for it.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from vddbench.data.fingerprint import Sketch
from vddbench.data.frames_check import BLOCK_BYTES, sha256_frames
from vddbench.data.stored_frames import Stored
from vddbench.system.files import canonical_json, write_whole
from vddbench.system.progress import bar


@dataclass(frozen=True, kw_only=True)
class Row:
    """A stored video: its first frame in `frames.bin` and the size that its source file had, in bytes."""

    offset: int
    source_bytes: int
    stored: Stored


class Journal:
    """The stored videos of one run, by id and in the order of `frames.bin`.

    key: hash of the spec and the list of videos; a journal with another key is not resumed but sets `started_over`.
    source_bytes: size of each source file by video id. num_resumed: how many videos of an earlier run are kept.
    sketch: of all videos except the first `num_unsketched`, because an earlier run stored those without thumbnails.
    """

    def __init__(self, folder: Path, key: str, frame_bytes: int, source_bytes: dict[str, int]) -> None:
        self.path, self.frame_bytes, self.source_bytes = folder / "journal", frame_bytes, source_bytes
        self.header = canonical_json({"format": 3, "key": key}) + b"\n"
        self.rows: dict[str, Row] = {}
        self.num_frames = 0
        (folder / "frames.bin").touch()
        self.frames = (folder / "frames.bin").open("r+b")
        lines = _complete_lines(self.path)
        self.started_over = bool(lines) and lines[0] != self.header
        if lines and not self.started_over:
            self._resume(lines[1:])
        self.num_resumed = len(self.rows)
        self._cut()

    def _resume(self, lines: list[bytes]) -> None:
        """Takes over the longest valid beginning of an interrupted run."""
        with bar("checking the interrupted run", len(lines)) as progress:
            for line in lines:
                video, row = _parse(line, self.num_frames)
                if row is None or self.source_bytes.get(video) != row.source_bytes or video in self.rows:
                    return
                if sha256_frames(self.frames, row.offset, row.stored.num_frames, self.frame_bytes) != row.stored.frames_sha256:
                    return
                self.rows[video] = row
                self.num_frames += row.stored.num_frames
                progress.advance()

    def _cut(self) -> None:
        """Cuts both files to the rows, the journal first, so that it never lists frames that are missing."""
        self.sketch, self.num_unsketched = Sketch(), len(self.rows)
        write_whole(self.path, self.header + b"".join(_line(video, row) for video, row in self.rows.items()))
        self.lines = self.path.open("ab")
        self.frames.truncate(self.num_frames * self.frame_bytes)
        self.frames.seek(0, os.SEEK_END)

    def keep(self, count: int) -> None:
        """Forgets all videos except the first `count`."""
        self.lines.close()
        self.rows = dict(list(self.rows.items())[:count])
        self.num_frames = sum(row.stored.num_frames for row in self.rows.values())
        self.num_resumed = min(self.num_resumed, count)
        self._cut()

    def append(self, video: str, stored: Stored, frames: BinaryIO) -> None:
        """Copies the frames of a decoded video to the end of `frames.bin`, then adds its line to the journal."""
        shutil.copyfileobj(frames, self.frames, BLOCK_BYTES)
        self.frames.flush()
        assert stored.thumbnail is not None, "only rows of an earlier run lack a thumbnail"
        self.sketch.add(video, stored.thumbnail)
        stored = replace(stored, thumbnail=None)  # saves 0.3 kB a video
        row = Row(offset=self.num_frames, source_bytes=self.source_bytes[video], stored=stored)
        assert self.frames.tell() == (row.offset + stored.num_frames) * self.frame_bytes, "`frames` has another length"
        self.lines.write(_line(video, row))
        self.lines.flush()
        self.rows[video] = row
        self.num_frames += stored.num_frames

    def sync(self) -> None:
        """Flushes the frames to disk, before `done.json` is written."""
        os.fsync(self.frames.fileno())

    def close(self) -> None:
        with self.lines:  # closing also writes, which fails on a full disk
            self.frames.close()


def _complete_lines(path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines


def _line(video: str, row: Row) -> bytes:
    stored = row.stored
    counts = [row.source_bytes, stored.num_source, stored.num_frames, stored.stride]
    return canonical_json([video, *counts, stored.sha256, stored.frames_sha256]) + b"\n"


def _parse(line: bytes, offset: int) -> tuple[str, Row | None]:
    try:
        video, source_bytes, num_source, num_frames, stride, sha256, frames_sha256 = json.loads(line)
    except ValueError:
        return "", None
    stored = Stored(
        num_frames=num_frames, stride=stride, sha256=sha256, frames_sha256=frames_sha256, thumbnail=None, num_source=num_source
    )
    return str(video), Row(offset=offset, source_bytes=source_bytes, stored=stored)
