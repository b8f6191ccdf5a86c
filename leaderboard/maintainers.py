"""The list of maintainers: Hub user names whose students on fresh seeds verify an entry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vddbench.records.record import UserName

MAINTAINERS = "MAINTAINERS"  # a file of a results repo, beside records/: one Hub user name per line
MAX_MAINTAINERS_BYTES = 100_000


def is_user_name(text: str) -> bool:
    """Whether a record's `by` may hold this text."""
    try:
        TypeAdapter(UserName).validate_python(text)
    except ValidationError:
        return False
    return True


def parse_maintainers(text: bytes) -> frozenset[str]:
    """The names in a MAINTAINERS file. Raises ValueError for a line that is not a user name."""
    names = text.decode(errors="replace").split()
    wrong = [name for name in names if not is_user_name(name)]
    if wrong:
        raise ValueError(f"{MAINTAINERS} contains {wrong[0][:80]!r}; allowed: one Hub user name per line")
    return frozenset(names)


def local_maintainers(roots: Iterable[Path]) -> frozenset[str]:
    """The names in the MAINTAINERS files beside results folders, e.g. published/MAINTAINERS. Raises ValueError, OSError."""
    files = [path for path in {root.resolve().parent / MAINTAINERS for root in roots} if path.is_file()]
    names: set[str] = set()
    for path in files:
        if path.stat().st_size > MAX_MAINTAINERS_BYTES:
            raise ValueError(f"{path} has {path.stat().st_size:,} bytes; allowed: {MAX_MAINTAINERS_BYTES:,}")
        try:
            names |= parse_maintainers(path.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{path} is read as the maintainers of the results folder beside it: {error}; if it is another list, move the "
                "results folder"
            ) from error
    return frozenset(names)
