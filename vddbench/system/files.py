"""Files that appear whole or not at all: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write. It replaces `path` when the block ends normally and is deleted when the block raises."""
    with _beside(path) as (file, temporary):
        yield file
        _finish(file)
        temporary.replace(path)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, which holds its old content until the new one is complete."""
    with replacing(path) as file:
        file.write(content)


def copy_whole(source: Path, target: Path) -> None:
    """Copies a file to `target`, which holds its old content until the copy is complete."""
    with source.open("rb") as file, replacing(target) as copy:
        shutil.copyfileobj(file, copy)


def write_new(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes `path`, which must not exist. Raises FileExistsError if it does, even if another process just created it."""
    with _beside(path) as (file, temporary):
        write(file)
        _finish(file)
        os.link(temporary, path)  # unlike rename, refuses to replace


@contextmanager
def _beside(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file in the folder of `path`. Its temporary name is removed afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def check_writable(folder: Path) -> None:
    """Creates the folder if needed. Raises OSError if no file can be written there: early, before minutes of work are lost."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))  # a full disk may still take an empty file
            file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes, for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: bytes, max_bytes: int) -> Any:
    """The value of a JSON text that may come from a stranger.

    Raises ValueError if it is longer than max_bytes, not JSON in UTF-8, nested too deeply, or names a key of an object twice.
    """
    if len(text) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    try:
        return json.loads(text.decode(), object_pairs_hook=_without_duplicate_keys)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, max_bytes: int) -> Any:
    """`parse_json` of a file; refuses more than max_bytes. Raises OSError, ValueError (which does not name the file)."""
    with path.open("rb") as file:
        return parse_json(file.read(max_bytes + 1), max_bytes)


def _without_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses a JSON object that names a key twice, because readers differ in which one they take."""
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)[:80]!r} appears twice")
    return value
