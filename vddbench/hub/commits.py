"""Creates repos, commits and tags. If an answer is lost, looks for the effect of the request before sending it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import GitCommitInfo

from vddbench.hub.client import api, explained, patiently
from vddbench.hub.files import read_listing
from vddbench.hub.repo import Committed, Content, Repo

STALE = 412
COMMIT_FILES = 90  # files per commit; the Hub advises fewer than 100


class StaleParentError(Exception):
    """The branch has moved since it was listed; the caller must list it again."""


def create(repo: Repo) -> None:
    """Creates the repo if it does not exist."""
    sdk = "static" if repo.kind == "space" else None
    with explained(repo):
        patiently(lambda: api().create_repo(repo.id, repo_type=repo.kind, exist_ok=True, space_sdk=sdk))


def untouched(repo: Repo, revision: str) -> bool:
    """Whether nobody has committed anything since the repo was created."""
    return [entry.title for entry in history(repo, revision)] == ["initial commit"]


def exists(repo: Repo) -> bool:
    with explained(repo):
        return patiently(lambda: api().repo_exists(repo.id, repo_type=repo.kind))


def is_private(repo: Repo) -> bool:
    with explained(repo):
        return bool(patiently(lambda: api().repo_info(repo.id, repo_type=repo.kind)).private)


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
    """Makes one commit of these files.

    parent: the commit that the new one must follow directly; raises StaleParentError if the branch has moved.
    """

    def send() -> Committed:
        operations: list[CommitOperationAdd | CommitOperationDelete] = [*added(add)]
        operations += [CommitOperationDelete(path) for path in delete]
        made = api().create_commit(
            repo.id, operations, commit_message=message, repo_type=repo.kind, revision=revision, parent_commit=parent
        )
        return Committed(made.oid)

    def done() -> Committed | None:
        committed = read_listing(repo, revision)
        held = all(committed.holds(path, data) for path, data in add.items())
        return Committed(committed.sha) if held and not any(path in committed.files for path in delete) else None

    with explained(repo):
        try:
            return patiently(send, done)
        except HfHubHTTPError as error:
            if error.response.status_code == STALE:
                raise StaleParentError from None
            raise


def committed_at(repo: Repo, sha: str) -> datetime | None:
    """When a commit of main was made. None if main lacks the commit."""
    return next((entry.created_at for entry in history(repo) if entry.commit_id == sha), None)


def authors(repo: Repo, sha: str) -> list[str] | None:
    """User names of a commit's authors. None if main lacks the commit, because anybody can add one by a pull request."""
    return next((entry.authors for entry in history(repo) if entry.commit_id == sha), None)


def history(repo: Repo, revision: str = "main") -> list[GitCommitInfo]:
    """All commits of a branch or up to a commit."""
    with explained(repo):
        return patiently(lambda: api().list_repo_commits(repo.id, repo_type=repo.kind, revision=revision))


def tagged(repo: Repo, name: str) -> str | None:
    """The commit of a tag; None if there is no such tag."""
    with explained(repo):
        refs = patiently(lambda: api().list_repo_refs(repo.id, repo_type=repo.kind))
    return next((ref.target_commit for ref in refs.tags if ref.name == name), None)


def tag(repo: Repo, name: str, sha: str) -> None:
    """Tags a commit. Repeating the call is allowed; raises ValueError if the tag is on another commit."""
    tagged_sha = tagged(repo, name)
    if tagged_sha is None:
        with explained(repo):
            patiently(lambda: api().create_tag(repo.id, tag=name, revision=sha, repo_type=repo.kind, exist_ok=True))
    elif tagged_sha != sha:
        raise ValueError(
            f"{repo} has a tag {name!r} on another commit, {tagged_sha[:8]}; releases don't move: choose a new name"
        )
