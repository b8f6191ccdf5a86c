"""Reads `groups.csv` of a user's folder: which videos show the same scene or person."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from pathlib import Path

from vddbench.data.listing import EXTENSIONS
from vddbench.spec import Video
from vddbench.system.progress import say

MAX_GROUP_CHARS = 200


def read_groups(folder: Path) -> dict[str, str]:
    """Path -> group, from `groups.csv`; {} if that does not exist. Raises ValueError naming the wrong line."""
    file = folder / "groups.csv"
    if not file.is_file():
        return {}
    groups: dict[str, str] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.reader(text)
            if next(rows, None) != ["path", "group"]:
                raise ValueError("its first line is not: path,group")
            for row in filter(None, rows):  # without empty lines
                if len(row) != 2:
                    raise ValueError(f"line {rows.line_num} has {len(row)} columns, not 2")
                path, group = row
                if path in groups:
                    raise ValueError(f"line {rows.line_num} repeats {path[:200]!r}")
                if len(group) > MAX_GROUP_CHARS or not group.isprintable():
                    raise ValueError(f"line {rows.line_num}: a group is up to {MAX_GROUP_CHARS} printable characters")
                groups[path] = group
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None
    return groups


def check_group_paths(folder: Path, parts: Collection[str], groups: Mapping[str, str]) -> None:
    """Raises ValueError unless every path of groups.csv names a video below `folder`, maybe of a class that was not chosen."""
    wrong = []
    for path in groups:
        names = path.split("/")
        inside = len(names) == 3 and names[0] in parts and ".." not in names and "\0" not in path
        if not (inside and Path(path).suffix.lower() in EXTENSIONS and (folder / path).is_file()):
            wrong.append(path[:200])
    if wrong:
        listed = ", ".join(map(repr, wrong[:10]))
        raise ValueError(f"{folder / 'groups.csv'} names {len(wrong)} paths that are not videos of this folder: {listed}")


def report_groups(groups: Mapping[str, str], videos: list[Video]) -> None:
    """Prints how many videos have no group, if some have one."""
    without = [video.id for video in videos if not groups.get(video.id)]
    if without and len(without) < len(videos):
        say(
            f"warning: groups.csv names a group for only {len(videos) - len(without):,} of {len(videos):,} videos; without "
            f"one: {', '.join(without[:3])}. Validation videos are chosen among those with a group",
            style="yellow",
        )
