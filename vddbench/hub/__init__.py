"""The Hugging Face Hub, and the one door to huggingface_hub: commits that survive a busy server and a lost answer, downloads of
bounded size, errors in words. Where it is and who we are: HF_ENDPOINT, HF_TOKEN or `hf auth login`, HF_HUB_OFFLINE.

 repo.py            what the Hub has, in our words
 client.py          asks again while it is busy, and explains failures
 files.py           reads; remote_file.py: reads parts of a file; commits.py: writes
 pull_requests.py   proposes, and merges
"""

from vddbench.hub.client import api, may_write, whoami
from vddbench.hub.commits import (
    StaleParentError,
    authors,
    commit,
    create,
    exists,
    is_private,
    tag,
    tagged,
    untouched,
)
from vddbench.hub.files import check_size, copy, download, fetch, listing
from vddbench.hub.pull_requests import discussed, merge, parting, pull_request
from vddbench.hub.remote_file import read_remote
from vddbench.hub.repo import SHA, Committed, Content, Listing, PullRequest, Remote, Repo, endpoint

__all__ = [
    "SHA",
    "Committed",
    "Content",
    "Listing",
    "PullRequest",
    "Remote",
    "Repo",
    "StaleParentError",
    "api",
    "authors",
    "check_size",
    "commit",
    "copy",
    "create",
    "discussed",
    "download",
    "endpoint",
    "exists",
    "fetch",
    "is_private",
    "listing",
    "may_write",
    "merge",
    "parting",
    "pull_request",
    "read_remote",
    "tag",
    "tagged",
    "untouched",
    "whoami",
]
