"""`vddbench prepare NAME --hub OWNER/REPO[@revision]`: a store from a dataset repo on the Hub, at one commit.

The repo holds video files in the distributor's folders, in folders of classes or (except for your own videos) in any folders;
or parquet files with the videos. They are matched by name to the dataset's own lists, as local files are, and give the same
store with the same digest; spec.json names the commit. Labels and splits come from the dataset's lists and never from the
repo's columns, so that no repo moves a test video into train. Lists that are not part of this package are read from --raw,
otherwise from the repo; the digest covers labels and splits, so it shows whether others used the same lists.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vddbench import hub, lookup
from vddbench.data.build import Prepared, build_locked, check_name
from vddbench.data.sources.hub.standins import StandIns
from vddbench.data.sources.hub.videos import builtin_videos, own_videos
from vddbench.data.sources.source import check_builtin_options, check_folder
from vddbench.data.store import store_path
from vddbench.data.store_folder import explained, locked
from vddbench.system.files import write_whole
from vddbench.system.progress import say

MAX_FILES = 400_000  # in one repo; Kinetics-400 has 266,440 videos


def prepare_hub(name: str, where: str, raw: Path | None, chosen: dict[str, Any], workers: int | None, force: bool) -> Prepared:
    """Prepares `name` from the repo `where`, OWNER/REPO[@revision], by default of the branch main.

    raw: a folder with the dataset's lists. chosen: options of `read_folder`. An interrupted run resumes at its own commit.
    Raises LookupError, ValueError, FileNotFoundError, OSError.
    """
    check_name(name)
    repo, revision = parse_repo(where)
    builtin = name in lookup.names("dataset")
    if builtin:
        check_builtin_options(chosen)
        if not hasattr(lookup.load("dataset", name), "listing"):
            raise ValueError(f"{name} is generated; leave out --hub")
    elif raw is not None:
        raise ValueError(f"--raw is for the lists of a built-in dataset, and {name} is not one: leave it out")
    check_folder("--raw", raw)
    place = store_path(name)
    scratch = place.with_name(f".{name}.hub")
    with locked(place), explained(name, place), pinned(scratch / "commit.json", repo, revision) as listing:
        origin = f"{repo.url} at commit {listing.sha}"
        say(f"{name} from {origin}")
        shutil.rmtree(scratch / "standins", ignore_errors=True)  # left by a run that was killed
        standins = StandIns(scratch / "standins", f"{repo} at {listing.sha[:8]}")
        with standins.named():
            if builtin:
                spec, videos, unlisted, source = builtin_videos(lookup.load("dataset", name), repo, listing, raw, standins)
            else:
                spec, videos, unlisted, source = own_videos(repo, listing, chosen, standins)
        shutil.rmtree(standins.folder)
        spec = spec.model_copy(update={"origin": origin})
        done = build_locked(name, spec, videos, unlisted=unlisted, source=source, workers=workers, force=force)
        shutil.rmtree(scratch)
        return done


def parse_repo(where: str) -> tuple[hub.Repo, str]:
    """Splits OWNER/REPO[@revision]. Raises LookupError."""
    name, at, revision = where.partition("@")
    if at and not (0 < len(revision) <= 200 and revision.isprintable() and " " not in revision):
        raise LookupError(f"--hub {where[:300]!r}: OWNER/REPO, or OWNER/REPO@revision with a branch, a tag or a commit")
    return hub.Repo(name), revision or "main"


@contextmanager
def pinned(path: Path, repo: hub.Repo, revision: str) -> Iterator[hub.Listing]:
    """The repo's files at one commit: the one in `path` if an interrupted run left it, else the one `revision` names now.

    If the repo is refused, `path` is deleted, because a later commit may be repaired; an interruption keeps it.
    """
    asked = {"repo": repo.id, "endpoint": hub.endpoint(), "revision": revision}
    try:
        earlier = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        earlier = {}
    commit = str(earlier.get("commit"))
    if {key: earlier.get(key) for key in asked} == asked and hub.SHA.fullmatch(commit) and commit != revision:
        say(f"resuming the interrupted run at its commit {commit[:8]}; for another one write {repo.id}@COMMIT")
        revision = commit
    listing = hub.listing(repo, revision, MAX_FILES)
    write_whole(path, json.dumps(asked | {"commit": listing.sha}).encode())
    try:
        yield listing
    except (ValueError, LookupError, FileNotFoundError):
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
