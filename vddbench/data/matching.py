"""Matches the videos that a dataset's lists name with files or folders, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from vddbench.spec import Video
from vddbench.system.progress import say

REPLACEMENTS = {"replacement", "replacement_for_corrupted_k400"}  # CVDF's folder with undamaged copies of Kinetics clips
ShortName = Callable[[str], str]


def located(listing: Iterable[Video], paths: Mapping[str, Path]) -> Iterator[Video]:
    """The listed videos with the paths of their files, None for a video without a file."""
    return (replace(video, path=paths.get(video.id)) for video in listing)


def one_each(files: Iterable[tuple[str, Path]], suffix: str) -> dict[str, Path]:
    """Video id -> its file; of two files, the one with the distributor's suffix. Raises ValueError if that leaves two."""
    paths: dict[str, Path] = {}
    for video, path in files:
        other = paths.setdefault(video, path)
        if other is path:
            continue
        preferred = [file for file in (other, path) if file.suffix.lower() == suffix]
        if len(preferred) != 1:
            raise ValueError(f"two files are video {video}: {other} and {path}; remove one")
        paths[video] = preferred[0]
    return paths


def named(listing: Iterable[Video], find: Callable[[str], Path | None], short_name: ShortName | None) -> Iterator[Video]:
    """The listed videos with the paths that `find` gives for the last part of their ids, None for a video without a file.

    short_name: gives another name under which copies have a clip, which is used if it is unique in the lists.
    """
    videos = list(listing)
    names = [video.id.rpartition("/")[2] for video in videos]
    uses = Counter(map(short_name, names)) if short_name else Counter[str]()
    by_short: list[tuple[Path, str]] = []
    unclear: list[Path] = []
    for video, name in zip(videos, names, strict=True):
        path = find(name)
        if path is None and short_name and (path := find(short_name(name))) is not None:
            if uses[short_name(name)] == 1:
                by_short.append((path, name))
            else:
                unclear.append(path)
                path = None
        yield replace(video, path=path)
    if by_short:
        first, name = by_short[0]
        say(
            f"{len(by_short):,} clips are taken from files or folders with a shorter name, e.g. {first} for {name}: each must "
            "hold this clip, not a whole video",
            style="yellow",
        )
    if unclear:
        say(f"warning: {len(unclear):,} clips share a shorter name with another, e.g. {unclear[0]}: left out", style="yellow")
