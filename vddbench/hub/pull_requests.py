"""Opens, reads and merges pull requests. Opening one needs no write access."""

from __future__ import annotations

from collections.abc import Mapping

from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from vddbench.hub import commits
from vddbench.hub.client import api, explained, patiently, whoami
from vddbench.hub.commits import added, commit, history
from vddbench.hub.files import listing, read_listing
from vddbench.hub.repo import Committed, Content, PullRequest, Repo

MISSING = 404


def pull_request(repo: Repo, add: Mapping[str, Content], title: str, description: str) -> Committed:
    """Opens a pull request with these files. If the user has an open one with this title, updates that one, so a
    lost answer or a repeated command makes no second one."""
    me = whoami()

    def ours() -> Committed | None:
        for opened in api().get_repo_discussions(repo.id, author=me, discussion_type="pull_request", repo_type=repo.kind):
            if opened.title == title and opened.status in {"open", "draft"} and opened.author == me:
                return Committed(read_listing(repo, f"refs/pr/{opened.num}").sha, opened.num)
        return None

    def send() -> Committed:
        first = dict(list(add.items())[: commits.COMMIT_FILES])
        made = api().create_commit(
            repo.id, added(first), commit_message=title, commit_description=description, repo_type=repo.kind, create_pr=True
        )
        return Committed(made.oid, made.pr_num)

    with explained(repo):
        opened = patiently(ours) or patiently(send, ours)
    revision = f"refs/pr/{opened.pull_request}"
    branch = listing(repo, revision)
    missing = {path: data for path, data in add.items() if not branch.holds(path, data)}
    sha = opened.sha
    for begin in range(0, len(missing), commits.COMMIT_FILES):
        sha = commit(repo, dict(list(missing.items())[begin : begin + commits.COMMIT_FILES]), title, revision=revision).sha
    return Committed(sha, opened.pull_request)


def discussed(repo: Repo, number: int) -> PullRequest:
    """Author, title and status of a pull request. Raises LookupError if no pull request has this number."""
    with explained(repo):
        try:
            discussion = patiently(lambda: api().get_discussion_details(repo.id, number, repo_type=repo.kind))
        except HfHubHTTPError as error:
            if error.response.status_code != MISSING or isinstance(error, RepositoryNotFoundError):
                raise
            raise LookupError(f"{repo} has no pull request {number}; they are listed on {repo.url}/discussions") from None
    if not discussion.is_pull_request:
        raise LookupError(f"{repo}: {number} is a discussion, not a pull request; these are listed on {repo.url}/discussions")
    return PullRequest(number, discussion.author, discussion.title, discussion.status)


def parting(repo: Repo, revision: str) -> str:
    """The newest common commit of `revision` and main; a pull request changes the files that differ from it."""
    main = {entry.commit_id for entry in history(repo)}
    for entry in history(repo, revision):
        if entry.commit_id in main:
            return entry.commit_id
    raise ValueError(f"{repo}: {revision} has no commit in common with main; allowed: a branch that begins there")


def merge(repo: Repo, number: int) -> str:
    """Merges an open pull request; returns main's newest commit. Raises ValueError for a draft, PermissionError without write
    access."""
    status = discussed(repo, number).status
    if status == "draft":
        raise ValueError(f"pull request {number} of {repo} is a draft; publish it on {repo.url}/discussions/{number} first")

    def done() -> bool | None:
        details = api().get_discussion_details(repo.id, number, repo_type=repo.kind)
        return True if details.status == "merged" else None

    def send() -> bool:
        api().merge_pull_request(repo.id, number, repo_type=repo.kind)
        return True

    with explained(repo):
        if status != "merged":
            patiently(send, done)
    return listing(repo).sha
