"""Types of the Hub: repos, their files at a commit, commits, pull requests."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vddbench.system.files import sha256_file

Content = bytes | Path  # of a file to commit
PUBLIC = "https://huggingface.co"
SHA256_DIGITS = 64
SHA = re.compile(r"[0-9a-f]{40}")
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", PUBLIC).rstrip("/")


@dataclass(frozen=True)
class Repo:
    """A repo of the Hub. Raises LookupError unless the id is OWNER/NAME, which also names folders on this machine."""

    id: str
    kind: Literal["dataset", "space", "model"] = "dataset"

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id) or ".." in self.id:
            raise LookupError(f"{self.id[:200]!r} cannot be a {self.kind} repo; a repo is called OWNER/NAME")

    def __str__(self) -> str:
        return f"{self.kind} repo {self.id}"

    @property
    def url(self) -> str:
        return f"{endpoint()}/{self.id}" if self.kind == "model" else f"{endpoint()}/{self.kind}s/{self.id}"


@dataclass(frozen=True)
class Remote:
    """A file of a repo as it is listed; `digest` is the sha256 of a large file (LFS), git's sha1 of a small one."""

    size: int
    digest: str

    def holds(self, content: Content) -> bool:
        """Whether the file has this content."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size != self.size:
            return False
        if isinstance(content, Path) and len(self.digest) == SHA256_DIGITS:
            return sha256_file(content) == self.digest
        data = content if isinstance(content, bytes) else content.read_bytes()
        of_git = hashlib.sha1(b"blob %d\0" % size + data, usedforsecurity=False).hexdigest()
        return self.digest in {hashlib.sha256(data).hexdigest(), of_git}


@dataclass(frozen=True)
class Listing:
    """All files of a repo at one commit."""

    sha: str
    files: dict[str, Remote]

    def holds(self, path: str, content: Content) -> bool:
        """Whether there is a file of this path with this content."""
        return path in self.files and self.files[path].holds(content)


@dataclass(frozen=True)
class Committed:
    sha: str
    pull_request: int | None = None  # its number


@dataclass(frozen=True)
class PullRequest:
    number: int
    author: str
    title: str
    status: str  # open, draft, closed or merged
