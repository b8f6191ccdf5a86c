"""The Hugging Face Hub, and the one door to huggingface_hub: commits that survive a busy server and a lost answer, downloads of
bounded size, errors in words. Where it is and who we are: HF_ENDPOINT, HF_TOKEN or `hf auth login`, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # documented there
from huggingface_hub.utils.tqdm import disable_progress_bars

from vddbench.atomic import sha256_file
from vddbench.progress import say

T = TypeVar("T")
Content = bytes | Path  # of a file to commit
HTTPError: type[Exception] = HfHubHTTPError.__mro__[1]  # of the HTTP library beneath: lost connections are such, too
TRIES = 8
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0  # 1, 2, 4, ... each times a random 0.5 to 1.5
LONGEST_ASKED_SECONDS = 300.0  # that the Hub asks for: it counts requests in windows of 5 minutes
BUSY = {408, 409, 425, 429, 500, 502, 503, 504}  # 409: somebody else is committing
STALE, MISSING = 412, 404
MAX_LISTED = 200_000  # files of a repo; the Hub advises below 100,000
LONGEST_SILENCE_SECONDS = 60.0  # of a download; then it is tried again
COMMIT_FILES = 90  # files a commit; the Hub advises below 100
SHA256_DIGITS = 64
SHA = re.compile(r"[0-9a-f]{40}")
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")


class StaleParentError(Exception):
    """The branch has moved since it was listed: list again and rebuild."""


@dataclass(frozen=True)
class Repo:
    """Raises LookupError for an id that is no OWNER/NAME: it is a folder's name here, too."""

    id: str
    kind: Literal["dataset", "space"] = "dataset"

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id) or ".." in self.id:
            raise LookupError(f"{self.id[:200]!r} is no {self.kind} repo; a repo is called OWNER/NAME")

    def __str__(self) -> str:
        return f"{self.kind} repo {self.id}"

    @property
    def url(self) -> str:
        return f"{endpoint()}/{self.kind}s/{self.id}"


@dataclass(frozen=True)
class Remote:
    """A file of a repo as it is listed; `digest` is sha256 of large files (LFS), git's sha1 of small ones."""

    size: int
    digest: str

    def holds(self, content: Content) -> bool:
        """Is it this content?"""
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
        """Is there a file of this path with this content?"""
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


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


@cache
def _api(where: str) -> HfApi:
    disable_progress_bars()  # ours are drawn
    return HfApi(endpoint=where, library_name="vddbench")


def api() -> HfApi:
    return _api(endpoint())


@contextlib.contextmanager
def explained(repo: Repo | None = None) -> Iterator[None]:
    """A failure of the Hub as one sentence with what to do. Raises OSError (exit 1), LookupError for a name that is none."""
    what = str(repo) if repo else "the Hub"
    try:
        yield
    except OfflineModeIsEnabled:
        raise ConnectionError(
            f"HF_HUB_OFFLINE is set, so {endpoint()} is not asked; unset it where there is a network"
        ) from None
    except LocalTokenNotFoundError:
        raise PermissionError("you are not logged in to the Hub: `hf auth login`, or set HF_TOKEN") from None
    except HFValidationError as error:
        raise LookupError(f"{what}: {str(error)[:200]}; a repo is called OWNER/NAME") from None
    except GatedRepoError:
        raise PermissionError(f"{what} is gated: ask for access on {repo.url if repo else endpoint()}") from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(
            f"no {what} on {endpoint()}, or it is private and not yours to see: check its name, and `hf auth whoami`; "
            "`hf auth login` or HF_TOKEN say who you are"
        ) from None
    except RevisionNotFoundError:
        raise FileNotFoundError(f"{what} has no such revision; a pull request is refs/pr/N, a commit 40 hex digits") from None
    except EntryNotFoundError as error:
        raise FileNotFoundError(f"{what} has no such file: {str(error).splitlines()[-1][:200]}") from None
    except HfHubHTTPError as error:
        raise _of_status(error, what) from None
    except HTTPError as error:
        raise ConnectionError(f"{endpoint()} can't be reached ({type(error).__name__}); try again, nothing is lost") from None


def _of_status(error: HfHubHTTPError, what: str) -> OSError:
    status = error.response.status_code
    if status == 401:
        return PermissionError("the Hub knows no such token: log in with `hf auth login`, or set HF_TOKEN to a valid one")
    if status == 403 and error.response.request.method in {"GET", "HEAD"}:
        return PermissionError(f"you may not read {what}: ask its owner for access, and look with `hf auth whoami` who you are")
    if status == 403:
        return PermissionError(
            f"you may not write to {what}: ask its owner; records are proposed with `vddbench submit`, which needs no write "
            "access to the results repo"
        )
    if status in BUSY:
        return ConnectionError(f"the Hub is busy ({status}) and stayed so over {TRIES} tries; run the same command again later")
    reason = (error.server_message or str(error).splitlines()[0])[:300]
    return OSError(f"the Hub refused a request on {what} ({status}): {reason}")


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """What happened to the upload of a large file, which the client tells as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, HTTPError):
            raise error.__cause__ from None
        raise


def patiently(call: Callable[[], T], done: Callable[[], T | None] = lambda: None) -> T:
    """`call()`, again after a growing wait while the Hub is busy or the connection breaks. Before each further try `done()`
    looks whether the last one has worked and only its answer was lost; what it returns, if anything, is the result."""
    wait = FIRST_WAIT_SECONDS
    for left in reversed(range(TRIES)):
        try:
            with _unwrapped():
                return call()
        except OfflineModeIsEnabled:
            raise
        except HTTPError as error:
            response = error.response if isinstance(error, HfHubHTTPError) else None
            if (response is not None and response.status_code not in BUSY) or not left:
                raise
            asked = _asked_seconds(response.headers) if response is not None else 0.0
            pause = max(min(LONGEST_WAIT_SECONDS, wait * random.uniform(0.5, 1.5)), min(LONGEST_ASKED_SECONDS, asked))
            why = f"{response.status_code}" if response is not None else type(error).__name__
            say(f"the Hub did not answer ({why}); trying again in {pause:.0f} s")
            time.sleep(pause)
            wait *= 2
        with contextlib.suppress(HTTPError):
            if (found := done()) is not None:
                return found
    raise AssertionError("the last try returns or raises")


def _asked_seconds(headers: Mapping[str, str]) -> float:
    """Until the Hub wants to be asked again: `Retry-After: 55`, or `RateLimit: "api";r=0;t=55`, nothing left for 55 s."""
    spent = re.search(r";\s*r=0;\s*t=(\d{1,9})", headers.get("RateLimit", ""))
    asked = headers.get("Retry-After", "")
    return float(asked if re.fullmatch(r"[0-9]{1,9}", asked) else spent[1] if spent else 0)


def whoami() -> str:
    """The user's name. Raises PermissionError without a valid token."""
    with explained():
        return str(patiently(api().whoami)["name"])


def create(repo: Repo) -> None:
    """Makes the repo where it isn't there yet."""
    sdk = "static" if repo.kind == "space" else None
    with explained(repo):
        patiently(lambda: api().create_repo(repo.id, repo_type=repo.kind, exist_ok=True, space_sdk=sdk))


def untouched(repo: Repo, revision: str) -> bool:
    """Has nobody committed anything since the Hub made the repo?"""
    with explained(repo):
        commits = patiently(lambda: api().list_repo_commits(repo.id, repo_type=repo.kind, revision=revision))
    return [each.title for each in commits] == ["initial commit"]


def exists(repo: Repo) -> bool:
    with explained(repo):
        return patiently(lambda: api().repo_exists(repo.id, repo_type=repo.kind))


def listing(repo: Repo, revision: str = "main", most: int = MAX_LISTED) -> Listing:
    """Every file at the commit that `revision` (a branch, refs/pr/N, a commit) is now, at most so many. Raises
    FileNotFoundError, ValueError."""
    with explained(repo):
        return patiently(lambda: _listing(repo, revision, most))


def _listing(repo: Repo, revision: str, most: int = MAX_LISTED) -> Listing:
    sha = api().repo_info(repo.id, repo_type=repo.kind, revision=revision).sha
    assert sha is not None
    files: dict[str, Remote] = {}
    for entry in api().list_repo_tree(repo.id, recursive=True, revision=sha, repo_type=repo.kind):
        if isinstance(entry, RepoFile):
            files[entry.path] = Remote(entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
        if len(files) > most:
            raise ValueError(f"{repo} has more than {most:,} files; no repo of this benchmark is that large")
    return Listing(sha, files)


def added(add: Mapping[str, Content]) -> list[CommitOperationAdd]:
    return [CommitOperationAdd(path, data if isinstance(data, bytes) else str(data)) for path, data in add.items()]


def commit(
    repo: Repo,
    add: Mapping[str, Content],
    message: str,
    *,
    delete: Sequence[str] = (),
    parent: str | None = None,
    revision: str = "main",
) -> Committed:
    """One commit of these files. parent: the commit that it must follow directly; raises StaleParentError when it can't.

    While the Hub is busy it is tried again; when an answer is lost, the files are looked for before anything is sent again.
    """

    def send() -> Committed:
        operations: list[CommitOperationAdd | CommitOperationDelete] = [*added(add)]
        operations += [CommitOperationDelete(path) for path in delete]
        made = api().create_commit(
            repo.id, operations, commit_message=message, repo_type=repo.kind, revision=revision, parent_commit=parent
        )
        return Committed(made.oid)

    def done() -> Committed | None:
        there = _listing(repo, revision)
        held = all(there.holds(path, data) for path, data in add.items())
        return Committed(there.sha) if held and not any(path in there.files for path in delete) else None

    with explained(repo):
        try:
            return patiently(send, done)
        except HfHubHTTPError as error:
            if error.response.status_code == STALE:
                raise StaleParentError from None
            raise


def pull_request(repo: Repo, add: Mapping[str, Content], title: str, description: str) -> Committed:
    """Opens a pull request with these files; needs no write access. One of ours with this title that is open is brought up to
    date instead, so that a lost answer or a repeated command makes no second one."""
    me = whoami()

    def ours() -> Committed | None:
        for found in api().get_repo_discussions(repo.id, author=me, discussion_type="pull_request", repo_type=repo.kind):
            if found.title == title and found.status in {"open", "draft"} and found.author == me:
                return Committed(_listing(repo, f"refs/pr/{found.num}").sha, found.num)
        return None

    def send() -> Committed:
        first = dict(list(add.items())[:COMMIT_FILES])
        made = api().create_commit(
            repo.id, added(first), commit_message=title, commit_description=description, repo_type=repo.kind, create_pr=True
        )
        return Committed(made.oid, made.pr_num)

    with explained(repo):
        opened = patiently(ours) or patiently(send, ours)
    revision = f"refs/pr/{opened.pull_request}"
    there = listing(repo, revision)
    missing = {path: data for path, data in add.items() if not there.holds(path, data)}
    sha = opened.sha
    for begin in range(0, len(missing), COMMIT_FILES):
        sha = commit(repo, dict(list(missing.items())[begin : begin + COMMIT_FILES]), title, revision=revision).sha
    return Committed(sha, opened.pull_request)


def discussed(repo: Repo, number: int) -> PullRequest:
    """Raises LookupError when there is no such pull request."""
    with explained(repo):
        try:
            found = patiently(lambda: api().get_discussion_details(repo.id, number, repo_type=repo.kind))
        except HfHubHTTPError as error:
            if error.response.status_code != MISSING or isinstance(error, RepositoryNotFoundError):
                raise
            raise LookupError(f"{repo} has no pull request {number}; they are listed on {repo.url}/discussions") from None
    if not found.is_pull_request:
        raise LookupError(f"{repo}: {number} is a discussion, no pull request; those are listed on {repo.url}/discussions")
    return PullRequest(number, found.author, found.title, found.status)


def parting(repo: Repo, revision: str) -> str:
    """The newest commit that `revision` and main have in common: what a pull request changes is what differs from it."""
    with explained(repo):
        main = {each.commit_id for each in patiently(lambda: api().list_repo_commits(repo.id, repo_type=repo.kind))}
        theirs = patiently(lambda: api().list_repo_commits(repo.id, repo_type=repo.kind, revision=revision))
    for each in theirs:
        if each.commit_id in main:
            return each.commit_id
    raise ValueError(f"{repo}: {revision} has no commit in common with main; it must begin there")


def authors(repo: Repo, sha: str) -> list[str] | None:
    """User names of who made a commit of main; None when main does not have it: anybody's pull request can add such a one."""
    with explained(repo):
        found = patiently(lambda: api().list_repo_commits(repo.id, repo_type=repo.kind))
    return next((each.authors for each in found if each.commit_id == sha), None)


def may_write(repo: Repo) -> bool:
    """Is the repo ours or of an organization that we are a member of?"""
    with explained():
        me = patiently(api().whoami)
    return repo.id.partition("/")[0] in {me["name"], *(each["name"] for each in me.get("orgs", ()))}


def merge(repo: Repo, number: int) -> str:
    """Merges an open pull request; returns main's commit. After a lost answer it looks before it asks again. Raises ValueError
    for a draft, PermissionError without write access."""
    status = discussed(repo, number).status
    if status == "draft":
        raise ValueError(f"pull request {number} of {repo} is a draft; publish it on {repo.url}/discussions/{number} first")

    def done() -> bool | None:
        found = api().get_discussion_details(repo.id, number, repo_type=repo.kind)
        return True if found.status == "merged" else None

    def send() -> bool:
        api().merge_pull_request(repo.id, number, repo_type=repo.kind)
        return True

    with explained(repo):
        if status != "merged":
            patiently(send, done)
    return listing(repo).sha


def is_private(repo: Repo) -> bool:
    with explained(repo):
        return bool(patiently(lambda: api().repo_info(repo.id, repo_type=repo.kind)).private)


def tagged(repo: Repo, name: str) -> str | None:
    """The commit that a tag names; None where there is no such tag."""
    with explained(repo):
        refs = patiently(lambda: api().list_repo_refs(repo.id, repo_type=repo.kind))
    return next((each.target_commit for each in refs.tags if each.name == name), None)


def tag(repo: Repo, name: str, sha: str) -> None:
    """Names a commit. The same tag again on the same commit is no error; raises ValueError when it names another one."""
    there = tagged(repo, name)
    if there is None:
        with explained(repo):
            patiently(lambda: api().create_tag(repo.id, tag=name, revision=sha, repo_type=repo.kind, exist_ok=True))
    elif there != sha:
        raise ValueError(f"{repo} has a tag {name!r} on another commit, {there[:8]}; releases don't move: take a new name")


def download(repo: Repo, path: str, revision: str, max_bytes: int) -> Path:
    """A file at a commit (40 hex digits), in huggingface_hub's cache, which goes on with half a download. Raises
    FileNotFoundError, ValueError when it is larger than `max_bytes` or the revision is a name that could move."""
    if not SHA.fullmatch(revision):
        raise ValueError(f"revision {revision[:80]!r} of {repo} can change; allowed: the 40 hex digits of a commit")
    with explained(repo):
        found = patiently(lambda: api().get_paths_info(repo.id, [path], repo_type=repo.kind, revision=revision))
        sizes = [each.size for each in found if isinstance(each, RepoFile) and each.path == path]
        if not sizes:
            raise FileNotFoundError(f"{repo} has no file {path} at {revision[:8]}")
        check_size(repo, path, sizes[0], max_bytes)
        return fetch(repo, path, revision, max_bytes)


def fetch(repo: Repo, path: str, revision: str, max_bytes: int) -> Path:
    """`download` of a file that a listing of this commit has, with its size."""
    with explained(repo):
        place = Path(patiently(lambda: _fetch(repo, path, revision)))
    check_size(repo, path, place.stat().st_size, max_bytes)
    return place


def _fetch(repo: Repo, path: str, revision: str) -> str:
    try:
        return api().hf_hub_download(repo.id, path, repo_type=repo.kind, revision=revision)
    except LocalEntryNotFoundError as error:  # "not in the cache either", whatever the reason it could not be asked for
        if isinstance(error.__cause__, (HTTPError, OfflineModeIsEnabled)):
            raise error.__cause__ from None
        raise


def copy(
    repo: Repo, path: str, revision: str, begin: int, end: int, out: BinaryIO, came: Callable[[int], object] = lambda _: None
) -> None:
    """Writes the bytes `begin` to `end` (excluded) of a file at a commit (40 hex digits) to `out`, past huggingface_hub's
    cache; goes on where a connection broke. came: is told how many bytes each time some have come; what it raises ends it.

    Raises FileNotFoundError, and OSError when the file ends before or the server gives other bytes than asked for.
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
        told = {**build_hf_headers(library_name="vddbench"), "Range": f"bytes={at}-{end - 1}", "Accept-Encoding": "identity"}
        with get_session().stream("GET", url, headers=told, timeout=LONGEST_SILENCE_SECONDS) as response:
            hf_raise_for_status(response)
            if at and not response.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                raise OSError(f"{endpoint()} does not give parts of files ({response.status_code}): {path[:200]}")
            for block in response.iter_raw():
                out.write(block[: end - at])
                came(len(block))
                at += len(block)
                if at >= end:
                    return
        raise OSError(f"{repo}: {path[:200]} ended after {at:,} bytes; the listing at {revision[:8]} says more. Try again")

    with explained(repo):
        patiently(get)


def check_size(repo: Repo, path: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ValueError(f"{repo}: {path[:200]} has {size:,} bytes; allowed: {max_bytes:,}")
