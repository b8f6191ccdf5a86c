"""Finds the videos of a built-in dataset or of the user's own dataset in a repo. Only names and lists are fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from vddbench import hub, lookup
from vddbench.data.listing import EXTENSIONS, with_validation
from vddbench.data.sources.folder import VALIDATION, read_folder
from vddbench.data.sources.hub.files import HubFiles
from vddbench.data.sources.hub.parquet import HubParquet, Place
from vddbench.data.sources.hub.standins import ByClass, StandIns, list_path, lists_below
from vddbench.data.sources.source import Source, of_formats
from vddbench.spec import DatasetSpec, Video
from vddbench.system.progress import bar, say

GROUPS = "groups.csv"
Files = dict[str, hub.Remote]  # by path


class RepoVideos(NamedTuple):
    """The arguments of `build_locked` that depend on a repo."""

    spec: DatasetSpec
    videos: list[Video]
    unlisted: list[str]
    source: Source


def form_of(repo: hub.Repo, listing: hub.Listing) -> tuple[bool, Files]:
    """(whether the videos are in parquet files, the files with videos). If the repo has both forms, the larger one is used.

    Raises ValueError if it has neither.
    """
    visible = {path: file for path, file in sorted(listing.files.items()) if not f"/{path}".count("/.")}
    videos = {path: file for path, file in visible.items() if path.lower().endswith(EXTENSIONS)}
    shards = {path: file for path, file in visible.items() if path.lower().endswith(".parquet")}
    if not videos and not shards:
        kinds = Counter("".join(PurePosixPath(path).suffixes[-2:]).lower() or path for path in visible)
        contents = ", ".join(f"{count:,} {kind[:40]}" for kind, count in kinds.most_common(5)) or "nothing"
        raise ValueError(
            f"{repo} at {listing.sha[:8]} has neither video files ({', '.join(EXTENSIONS)}) nor parquet files, but {contents}. "
            "Archives are not read: download and unpack them, then use --raw or --folder"
        )
    sizes = [sum(file.size for file in files.values()) for files in (videos, shards)]
    parquet = not videos or (bool(shards) and sizes[1] > sizes[0])
    files = shards if parquet else videos
    say(f"{len(files):,} {'parquet' if parquet else 'video'} files of {sizes[parquet] / 1e6:,.1f} MB")
    return parquet, files


def own_videos(repo: hub.Repo, listing: hub.Listing, chosen: dict[str, Any], standins: StandIns) -> RepoVideos:
    """The user's own videos: {train,test}/<class>/<clip> and groups.csv, read as with --folder. chosen: its options."""
    parquet, files = form_of(repo, listing)
    if parquet:
        with_lists = [name for name in lookup.usable("dataset") if hasattr(lookup.load("dataset", name), "listing")]
        raise ValueError(
            f"{repo} has its videos in parquet files, which are read for {', '.join(with_lists)} only: their lists have the "
            "labels. Your own videos must be files in the repo: {train,test}/<class>/<clip>.mp4"
        )
    parts = {"train", "test", *VALIDATION}
    add_files(standins, ((path if path.split("/")[0] in parts else None, path) for path in files), files)
    groups = [(GROUPS, GROUPS, listing.files[GROUPS].size)] if GROUPS in listing.files else []
    standins.add_lists(groups, partial(write_list, repo, listing.sha))
    spec, videos = read_folder(standins.folder, **chosen)
    return RepoVideos(spec, *files_in_repo(repo, listing.sha, files, standins, videos, []))


def builtin_videos(module: Any, repo: hub.Repo, listing: hub.Listing, raw: Path | None, standins: StandIns) -> RepoVideos:
    """The videos of a built-in dataset. Raises FileNotFoundError without its lists, ValueError if two files are one video."""
    parquet, files = form_of(repo, listing)
    add_lists(module, repo, listing, raw, standins)
    try:
        listed = list(module.listing(standins.folder))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. With --hub, give the lists that the repo lacks as --raw DIR") from None
    by_class = ByClass(listed, module.SPEC.class_names) if hasattr(module, "unlisted") else None
    if parquet:
        source = HubParquet(repo, listing.sha, files)
        places = add_rows(standins, source, module.SUFFIX, by_class)
    else:
        add_files(standins, ((by_class(path) if by_class else path, path) for path in files), files)
    videos = list(module.videos(standins.folder))
    unlisted = list(module.unlisted(standins.folder)) if by_class else []
    spec = of_formats(with_validation(module.SPEC, videos), videos, module.SUFFIX)
    if not parquet:
        return RepoVideos(spec, *files_in_repo(repo, listing.sha, files, standins, videos, unlisted))
    relative = [replace(video, path=video.path and video.path.relative_to(standins.folder)) for video in videos]
    source.places = {video.id: places[str(video.path)] for video in relative if video.path}
    return RepoVideos(spec, relative, unlisted, source)


def files_in_repo(
    repo: hub.Repo, sha: str, files: Files, standins: StandIns, videos: list[Video], unlisted: list[str]
) -> tuple[list[Video], list[str], Source]:
    """The videos with their paths in the repo, and the source that downloads them."""
    paths = {video.id: standins.original(video.path) for video in videos if video.path}
    in_repo = [replace(video, path=Path(paths[video.id]) if video.path else None) for video in videos]
    return in_repo, unlisted, HubFiles(repo, sha, {video: (path, files[path]) for video, path in paths.items()})


def add_files(standins: StandIns, paths: Iterable[tuple[str | None, str]], files: Files) -> None:
    """Adds stand-ins for (path, file of the repo); a file without a path is not part of the dataset."""
    with bar("matching names", len(files)) as progress:
        for path, original in paths:
            if path is not None:
                standins.add(path, files[original].size, original)
            progress.advance()


def add_rows(
    standins: StandIns, source: HubParquet, suffix: str, by_class: Callable[[str], str | None] | None
) -> dict[str, Place]:
    """Adds stand-ins for the rows of parquet files; returns path -> place."""
    places: dict[str, Place] = {}
    for name, place in source.names():
        *folders, file = name.split("/")
        file = file if file.lower().endswith(EXTENSIONS) else file + suffix  # a video_id has no suffix
        path = by_class("/".join([*folders, file])) if by_class else file
        if path is not None:
            standins.add(path, 0, f"{source.paths[place.shard]} row {place.row} of row group {place.group}")
            places[path] = place
    return places


def add_lists(module: Any, repo: hub.Repo, listing: hub.Listing, raw: Path | None, standins: StandIns) -> None:
    """Adds the dataset's lists, from `raw` or from the repo."""
    if raw is not None:
        copied = standins.add_lists(lists_below(module.LIST_FILES, raw), copy_list)
    else:
        copied = standins.add_lists(lists_in(module, listing), partial(write_list, repo, listing.sha))
    if copied:
        say(f"{copied} official lists from {raw or 'the repo'}")


def lists_in(module: Any, listing: hub.Listing) -> Iterator[tuple[str, str, int]]:
    for path, file in sorted(listing.files.items()):
        if name := list_path(module.LIST_FILES, path):
            yield name, path, file.size


def write_list(repo: hub.Repo, sha: str, path: str, size: int, out: BinaryIO) -> None:
    hub.copy(repo, path, sha, 0, size, out)


def copy_list(path: str, size: int, out: BinaryIO) -> None:
    out.write(Path(path).read_bytes())
