"""Lists the files of a repo at a commit and downloads files of bounded size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import get_session, hf_hub_url
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # documented there

from vddbench.hub.client import HTTPError, api, explained, patiently
from vddbench.hub.repo import SHA, Listing, Remote, Repo, endpoint

MAX_LISTED = 200_000  # files of a repo; the Hub advises fewer than 100,000
LONGEST_SILENCE_SECONDS = 60.0  # without new bytes of a download, before it is tried again


def listing(repo: Repo, revision: str = "main", most: int = MAX_LISTED) -> Listing:
    """All files at the commit that `revision` (a branch, refs/pr/N, a commit) names now.

    Raises FileNotFoundError, ValueError if there are more than `most` files.
    """
    with explained(repo):
        return patiently(lambda: read_listing(repo, revision, most))


def read_listing(repo: Repo, revision: str, most: int = MAX_LISTED) -> Listing:
    sha = api().repo_info(repo.id, repo_type=repo.kind, revision=revision).sha
    assert sha is not None
    files: dict[str, Remote] = {}
    for entry in api().list_repo_tree(repo.id, recursive=True, revision=sha, repo_type=repo.kind):
        if isinstance(entry, RepoFile):
            files[entry.path] = Remote(entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
        if len(files) > most:
            raise ValueError(f"{repo} has more than {most:,} files; no repo of this benchmark is that large")
    return Listing(sha, files)


def download(repo: Repo, path: str, revision: str, max_bytes: int) -> Path:
    """Downloads a file at a commit (40 hex digits) to huggingface_hub's cache, which resumes an interrupted download.

    Raises FileNotFoundError, ValueError if it is larger than `max_bytes` or the revision is a name that can move.
    """
    if not SHA.fullmatch(revision):
        raise ValueError(f"revision {revision[:80]!r} of {repo} can change; allowed: the 40 hex digits of a commit")
    with explained(repo):
        entries = patiently(lambda: api().get_paths_info(repo.id, [path], repo_type=repo.kind, revision=revision))
        sizes = [entry.size for entry in entries if isinstance(entry, RepoFile) and entry.path == path]
        if not sizes:
            raise FileNotFoundError(f"{repo} has no file {path} at {revision[:8]}")
        check_size(repo, path, sizes[0], max_bytes)
        return fetch(repo, path, revision, max_bytes)


def fetch(repo: Repo, path: str, revision: str, max_bytes: int) -> Path:
    """Downloads a file of a listing of this commit, whose size the caller has checked."""
    with explained(repo):
        place = Path(patiently(lambda: _fetch(repo, path, revision)))
    check_size(repo, path, place.stat().st_size, max_bytes)
    return place


def _fetch(repo: Repo, path: str, revision: str) -> str:
    try:
        return api().hf_hub_download(repo.id, path, repo_type=repo.kind, revision=revision)
    except LocalEntryNotFoundError as error:  # its text, "not in the cache either", hides why the request failed
        if isinstance(error.__cause__, (HTTPError, OfflineModeIsEnabled)):
            raise error.__cause__ from None
        raise


def copy(
    repo: Repo, path: str, revision: str, begin: int, end: int, out: BinaryIO, came: Callable[[int], object] = lambda _: None
) -> None:
    """Writes the bytes `begin` to `end` (excluded) of a file at a commit (40 hex digits) to `out`, without huggingface_hub's
    cache; resumes after a broken connection.

    came(new_bytes): progress callback, whose exceptions end the download. Raises FileNotFoundError, OSError if the file ends
    before `end` or the server sends other bytes than requested.
    """
    if not SHA.fullmatch(revision):
        raise ValueError(f"revision {revision[:80]!r} of {repo} can change; allowed: the 40 hex digits of a commit")
    url = hf_hub_url(repo.id, path, repo_type=repo.kind, revision=revision, endpoint=endpoint())
    first = out.tell() - begin

    def get() -> None:
        came(0)
        at = out.tell() - first
        if at >= end:
            return
        headers = {**build_hf_headers(library_name="vddbench"), "Range": f"bytes={at}-{end - 1}", "Accept-Encoding": "identity"}
        with get_session().stream("GET", url, headers=headers, timeout=LONGEST_SILENCE_SECONDS) as response:
            hf_raise_for_status(response)
            if at and not response.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                raise OSError(f"{endpoint()} does not serve parts of files ({response.status_code}): {path[:200]}")
            for block in response.iter_raw():
                out.write(block[: end - at])
                came(len(block))
                at += len(block)
                if at >= end:
                    return
        raise OSError(f"{repo}: {path[:200]} ended after {at:,} bytes, but the listing at {revision[:8]} says more; try again")

    with explained(repo):
        patiently(get)


def check_size(repo: Repo, path: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ValueError(f"{repo}: {path[:200]} has {size:,} bytes; allowed: {max_bytes:,}")
