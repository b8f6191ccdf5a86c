"""`frames.bin` while it grows, and the journal that makes a killed `prepare` resumable.

Frames are appended first, the journal's line after them, so the journal never promises what isn't there. Opening keeps
the longest beginning that still holds - whole lines, unchanged source files, frames with the hash they had - and cuts
the rest off both files: a torn line, half a video, blocks that a power cut lost. Videos that could not be read are not
in the journal, so the next run tries them again; when one that has to lie before others can be read then, `keep` makes
room for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from vddbench.data.decode import Stored
from vddbench.data.fingerprint import Sketch
from vddbench.system.files import canonical_json, replacing
from vddbench.system.progress import bar

COPY_BYTES = 1 << 16  # of 1 MB, Linux took three times as long to write


@dataclass(frozen=True, kw_only=True)
class Row:
    """One finished video. `offset` counts frames; `source_bytes` is the size its file had."""

    offset: int
    source_bytes: int
    stored: Stored


class Journal:
    """The finished videos of one run, by id and in the order of `frames.bin`.

    key: a hash of the spec and the list of videos; the journal of another run is not resumed. source_bytes: size of each
    source file by video id. `started_over` says that there was such another run's journal, `num_resumed` how many of its
    videos this run did not have to make again. `sketch` is of all videos but the first `num_unsketched`.
    """

    def __init__(self, folder: Path, key: str, frame_bytes: int, source_bytes: dict[str, int]) -> None:
        self.path, self.frame_bytes, self.source_bytes = folder / "journal", frame_bytes, source_bytes
        self.header = canonical_json({"format": 2, "key": key}) + b"\n"
        self.rows: dict[str, Row] = {}
        self.num_frames = 0
        (folder / "frames.bin").touch()
        self.frames = (folder / "frames.bin").open("r+b")
        lines = _lines(self.path)
        self.started_over = bool(lines) and lines[0] != self.header
        if lines and not self.started_over:
            self._resume(lines[1:])
        self.num_resumed = len(self.rows)
        self._cut()

    def _resume(self, lines: list[bytes]) -> None:
        """Takes over the longest beginning of an interrupted run that still holds."""
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
        """Cuts both files to the rows; the journal first, so that it never promises more than there is."""
        self.sketch, self.num_unsketched = Sketch(), len(self.rows)
        with replacing(self.path) as file:
            file.write(self.header + b"".join(_line(video, row) for video, row in self.rows.items()))
        self.lines = self.path.open("ab")
        self.frames.truncate(self.num_frames * self.frame_bytes)
        self.frames.seek(0, os.SEEK_END)

    def keep(self, count: int) -> None:
        """Forgets all videos but the first `count`."""
        self.lines.close()
        self.rows = dict(list(self.rows.items())[:count])
        self.num_frames = sum(row.stored.num_frames for row in self.rows.values())
        self.num_resumed = min(self.num_resumed, count)
        self._cut()

    def append(self, video: str, stored: Stored, frames: BinaryIO) -> None:
        """Copies the frames of a finished video to the end of `frames.bin`, then promises them."""
        shutil.copyfileobj(frames, self.frames, COPY_BYTES)
        self.frames.flush()
        assert stored.thumbnail is not None, "of an earlier run"
        self.sketch.add(video, stored.thumbnail)
        stored = replace(stored, thumbnail=None)  # 0.3 kB a video
        row = Row(offset=self.num_frames, source_bytes=self.source_bytes[video], stored=stored)
        assert self.frames.tell() == (row.offset + stored.num_frames) * self.frame_bytes, "a part of another length"
        self.lines.write(_line(video, row))
        self.lines.flush()
        self.rows[video] = row
        self.num_frames += stored.num_frames

    def sync(self) -> None:
        """Brings the frames to the disk: `done.json` may be written after this."""
        os.fsync(self.frames.fileno())

    def close(self) -> None:
        with self.lines:  # closing also writes, which fails on a full disk
            self.frames.close()


def sha256_frames(file: BinaryIO, offset: int, num_frames: int, frame_bytes: int) -> str:
    """Of `num_frames` frames of a `frames.bin` from frame `offset`, as they are on disk."""
    digest, left = hashlib.sha256(), num_frames * frame_bytes
    file.seek(offset * frame_bytes)
    while left and (block := file.read(min(left, COPY_BYTES))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()


def _lines(path: Path) -> list[bytes]:
    """The whole lines of a journal; a torn last one is dropped."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines


def _line(video: str, row: Row) -> bytes:
    stored = row.stored
    counts = [row.source_bytes, stored.num_frames, stored.stride]
    return canonical_json([video, *counts, stored.sha256, stored.frames_sha256]) + b"\n"


def _parse(line: bytes, offset: int) -> tuple[str, Row | None]:
    try:
        video, source_bytes, num_frames, stride, sha256, frames_sha256 = json.loads(line)
    except ValueError:
        return "", None
    stored = Stored(num_frames=num_frames, stride=stride, sha256=sha256, frames_sha256=frames_sha256, thumbnail=None)
    return str(video), Row(offset=offset, source_bytes=source_bytes, stored=stored)
