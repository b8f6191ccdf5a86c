"""Reads parts of a large file of a repo without downloading the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, TypeVar, cast

from huggingface_hub import HfFileSystem

from vddbench.hub.client import explained, patiently
from vddbench.hub.repo import SHA, Repo, endpoint

T = TypeVar("T")


def read_remote(repo: Repo, path: str, revision: str, size: int, read: Callable[[BinaryIO], T]) -> T:
    """Returns read(file) for a file of `size` bytes at a commit (40 hex digits); each part that `read` reads is one request.

    Calls `read` again when the connection breaks. Raises FileNotFoundError, PermissionError, ConnectionError, ValueError if
    the revision is a name that could move, and whatever `read` raises.
    """
    if not SHA.fullmatch(revision):
        raise ValueError(f"revision {revision[:80]!r} of {repo} can change; allowed: the 40 hex digits of a commit")

    def attempt() -> T:
        files = HfFileSystem(endpoint=endpoint())
        with files.open(f"{repo.kind}s/{repo.id}@{revision}/{path}", "rb", size=size, cache_type="none") as file:
            return read(cast(BinaryIO, file))

    with explained(repo):
        return patiently(attempt)
