"""Downloads distilled sets from the dataset repos of their authors, at the commit that a published manifest names.

A set goes to `SETS/SHA8/TASK/METHOD[-sN]`, so sets of the same name never share a folder. A manifest may come from a stranger,
so it must name a dataset repo of this Hub at a fixed commit, and the payload must fit the task's budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vddbench import hub
from vddbench.hub.repo import PUBLIC
from vddbench.spec import DatasetSpec, Manifest, Payload, Task
from vddbench.submissions.manifest import DATA, MANIFEST, read_manifest
from vddbench.submissions.payload import MAX_HEADER_BYTES
from vddbench.submissions.submission import spec_of
from vddbench.system.files import copy_whole, sha256_file, write_whole
from vddbench.system.progress import bar, say

SETS = "sets"  # beside records and submissions in a copy of a results repo
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
LETTERS_SHOWN = 120


@dataclass(frozen=True)
class Pinned:
    repo: hub.Repo
    revision: str  # 40 hex digits


def payload_of(repo: hub.Repo, sha: str) -> Payload:
    """The manifest's field `payload` of a set in this repo; names the public Hub if HF_ENDPOINT is a mirror without https."""
    where = hub.endpoint()
    return Payload(url=f"{where if where.startswith('https://') else PUBLIC}/datasets/{repo.id}", revision=sha)


def pinned(manifest: Manifest) -> Pinned:
    """The repo and commit of a published manifest's set. Raises ValueError unless it is a commit of a dataset repo here."""
    if manifest.payload is None:
        raise ValueError(
            f"{MANIFEST}: field 'payload' is missing; a published manifest says where its set is; `vddbench submit` adds it"
        )
    hosts = "|".join(re.escape(host) for host in (PUBLIC, hub.endpoint()))
    match = re.fullmatch(rf"(?:{hosts})/datasets/({NAME})/({NAME})", manifest.payload.url)
    if match is None or ".." in manifest.payload.url:
        raise ValueError(
            f"{MANIFEST}: field 'payload.url' is {manifest.payload.url[:LETTERS_SHOWN]!r}; allowed: "
            f"{PUBLIC}/datasets/OWNER/NAME, and nothing else is fetched"
        )
    if not hub.SHA.fullmatch(manifest.payload.revision):
        raise ValueError(
            f"{MANIFEST}: field 'payload.revision' is {manifest.payload.revision[:LETTERS_SHOWN]!r}, which can change; "
            "allowed: the 40 hex digits of a commit"
        )
    return Pinned(hub.Repo(f"{match[1]}/{match[2]}"), manifest.payload.revision)


def most_bytes(task: Task, spec: DatasetSpec) -> int:
    """The largest size of a payload's file: budget and header. Raises ValueError for a task without a budget."""
    budget = task.budget_bytes(spec)
    if budget is None:
        raise ValueError(f"{task} has no budget, its payload is the train split itself: `vddbench distill full --task {task}`")
    return budget + MAX_HEADER_BYTES + 8  # the header's length takes 8 bytes


def copies_of(results: hub.Repo) -> hub.Repo:
    """The repo, beside a results repo, to which merged payloads are copied: ORG/NAME-payloads."""
    return hub.Repo(f"{results.id}-payloads")


def copy_path(sha256: str) -> str:
    """The path of a payload in the repo of copies."""
    return f"{sha256}.safetensors"


def fetch(manifest: Manifest, into: Path, spec: DatasetSpec, copies: hub.Repo | None = None) -> Path:
    """Downloads a set if it is missing and returns its folder below `into`. Only its size and sha256 are checked.

    copies: the repo of `copies_of`, from which the payload is read if it is there: its author may have deleted the set.
    Raises ValueError if the manifest names another place or the file is too large or has another sha256, OSError if the Hub
    does not provide it.
    """
    where, limit = pinned(manifest), most_bytes(manifest.task, spec)
    folder = into / manifest.sha256[:8] / str(manifest.task) / manifest.folder
    if not (folder / DATA).is_file() or (folder / DATA).is_symlink() or sha256_file(folder / DATA) != manifest.sha256:
        cached = _copy(copies, manifest.sha256, limit) or hub.download(where.repo, DATA, where.revision, limit)
        measured = sha256_file(cached)
        if measured != manifest.sha256:
            raise ValueError(
                f"{where.repo} at {where.revision[:8]}: {DATA} has sha256 {measured[:16]}, its manifest says "
                f"{manifest.sha256[:16]}: it is not the set that was evaluated"
            )
        (folder / MANIFEST).unlink(missing_ok=True)
        copy_whole(cached, folder / DATA)
    write_whole(folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    return folder


def _copy(copies: hub.Repo | None, sha256: str, limit: int) -> Path | None:
    """The organisation's copy of a payload; None if there is none, or if it is not what its name says."""
    if copies is None or not hub.exists(copies):
        return None
    listing, path = hub.listing(copies), copy_path(sha256)
    if path not in listing.files:
        return None
    copy = hub.download(copies, path, listing.sha, limit)
    return copy if sha256_file(copy) == sha256 else None


def local(root: Path, task: Task, name: str, sha256: str) -> Path | None:
    """The folder TASK/NAME below `root` if it has this submission."""
    folder = (root / str(task) / name).resolve()
    if not (folder / MANIFEST).is_file():
        return None
    return folder if read_manifest(folder).sha256 == sha256 else None


def manifest_at(path: Path) -> Manifest:
    """A published manifest in a folder TASK/METHOD[-sN]@SHA8. Raises ValueError if its fields disagree with the folder."""
    manifest = read_manifest(path.parent.resolve())
    expected = manifest.cell
    if f"{path.parent.parent.name}/{path.parent.name}" != expected:
        raise ValueError(f"{path}: its fields say that it belongs in {expected}")
    return manifest


def fetch_all(copy: Path, paths: Iterable[str], copies: hub.Repo | None = None) -> int:
    """Downloads the sets of all manifests among `paths` of a copy of a results repo; returns their number.

    Sets that are refused or missing are named and left out. Raises ConnectionError if the Hub can't be reached.
    """
    manifests, count = [path for path in paths if path.endswith(f"/{MANIFEST}")], 0
    with bar("fetching distilled sets", len(manifests)) as progress:
        for path in manifests:
            try:
                manifest = manifest_at(copy / path)
                fetch(manifest, copy / SETS, spec_of(manifest.task.dataset), copies)
                count += 1
            except (ValueError, LookupError, FileNotFoundError, PermissionError) as error:
                say(f"left out: {path}: {error}", style="yellow")
            progress.advance()
    return count
