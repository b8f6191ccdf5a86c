"""What happened to the cells of a task: `events/N-T.jsonl`, appended to by the one process that runs the task."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from vddbench.cluster.plan import Count, Run
from vddbench.spec import Frozen

Outcome = Literal["done", "interrupted", "oom", "crash", "disk", "node", "bad", "bug", "gave_up"]
MAX_LINE_BYTES = 20_000


class Event(Frozen):
    """A cell started or ended."""

    time: Annotated[float, Field(ge=0, lt=1e11)]  # seconds since 1970
    cell: Count
    attempt: Count  # of this cell in this task, from 1
    outcome: Outcome | None = None  # None: it started
    seconds: Annotated[float, Field(ge=0, lt=1e9)] = 0.0  # of the attempt
    code: int | None = None  # exit code of the cell's process; negative: the signal that ended it
    num_bytes: Count | None = None  # of what was made
    host: Annotated[str, StringConstraints(max_length=300)] = ""
    tail: Annotated[str, StringConstraints(max_length=4000)] = ""  # of the log, for outcomes that somebody has to read


def file_of(run: Run, number: int, task: int) -> Path:
    return run.path / "events" / f"{number}-{task}.jsonl"


def append(file: Path, **fields: Any) -> Event:
    """Adds an event, on disk when this returns. Raises OSError."""
    event = Event(time=time.time(), host=socket.gethostname(), **fields)
    file.parent.mkdir(parents=True, exist_ok=True)
    line = event.model_dump_json(exclude_defaults=True).encode() + b"\n"
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        if (size := os.fstat(handle).st_size) and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # a crash cut the last line short
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)
    return event


def read(file: Path | str) -> Iterator[Event]:
    """Those of one task, in order; nothing when it never started."""
    if not os.path.exists(file):  # noqa: PTH110 - of thousands: Path's ways take twice the time
        return
    with open(file, "rb") as lines:  # noqa: PTH123
        for line in iter(lambda: lines.readline(MAX_LINE_BYTES), b""):
            try:
                yield Event.model_validate_json(line)
            except ValidationError:
                continue  # cut short by a crash, or of a newer version: the files that cells make tell the truth


def read_all(run: Run) -> Iterator[tuple[int, int, Event]]:
    """(job number, task, event) of all tasks; the events of one task in order."""
    folder = run.path / "events"
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            number, _, task = entry.name.removesuffix(".jsonl").partition("-")
            if entry.name.endswith(".jsonl") and number.isdecimal() and task.isdecimal():
                for event in read(entry.path):
                    yield int(number), int(task), event
