"""The Hugging Face Hub: the only room that imports huggingface_hub.

repo.py            types: a repo, its files at a commit, a pull request
client.py          retries while the Hub is busy, and turns failures into sentences that say what to do
files.py           lists and downloads files of bounded size; remote_file.py: reads parts of a file; commits.py: writes
pull_requests.py   opens, reads and merges pull requests
eval_results.py    scores of a model in the Hub's format

HF_ENDPOINT, HF_TOKEN (or `hf auth login`) and HF_HUB_OFFLINE configure this room. A call that changes something must be safe
to repeat after its answer was lost.
"""

from vddbench.hub.client import api, whoami
from vddbench.hub.commits import (
    StaleParentError,
    authors,
    commit,
    committed_at,
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
    "committed_at",
    "copy",
    "create",
    "discussed",
    "download",
    "endpoint",
    "exists",
    "fetch",
    "is_private",
    "listing",
    "merge",
    "parting",
    "pull_request",
    "read_remote",
    "tag",
    "tagged",
    "untouched",
    "whoami",
]
