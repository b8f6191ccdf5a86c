"""A Hub on loopback for tests: what the real `huggingface_hub` client needs to publish, in memory, over plain HTTP.

Repositories with commits, branches, tags and pull requests; large files over LFS ("basic", no Xet); private repositories, two
users and an organization. Any request can be made to fail: `hub.fail("POST", "/commit/", status=409)`. Longer than a file
should be because it is one protocol.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

LFS_SUFFIXES = (".bin", ".npz", ".parquet", ".safetensors", ".webp", ".png", ".mp4", ".zip", ".gz")
LFS_BYTES = 10_000_000  # larger files go over LFS whatever they are called
OWNER, STRANGER, ORG = "owner", "stranger", "lab"  # `owner` may write in `lab`
OWNER_TOKEN, STRANGER_TOKEN = "hf_owner", "hf_stranger"
TOKENS = {OWNER_TOKEN: OWNER, STRANGER_TOKEN: STRANGER}
OLD_UPLOAD = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client itself, where it has no Xet
MEMBERS = {OWNER: {OWNER, ORG}, STRANGER: {STRANGER}}  # the namespaces that a user may write in


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # only so many bytes of the body are sent


def answer(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


class Refused(Exception):
    """An error the Hub answers with: X-Error-Code tells the client which."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.answer = answer(
            {"error": message}, status, **{"X-Error-Message": message}, **({"X-Error-Code": code} if code else {})
        )


@dataclass(frozen=True)
class Asked:
    method: str
    path: str  # as sent: percent-encoded, without the query
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes
    user: str | None

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Fault:
    """What happens to the next `times` requests that match. `status=None`: the connection is dropped."""

    method: str
    pattern: re.Pattern[str]
    status: int | None
    headers: dict[str, str]
    when: Literal["before", "after"]  # "after": the request takes effect, its answer is lost
    times: int
    then: Callable[[], object] | None  # called at that time: somebody else's commit, a signal
    passes: bool = False  # it is answered as ever
    cut: int | None = None  # the connection drops after so many bytes of the answer


@dataclass(frozen=True)
class Blob:
    data: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def stored(self) -> bytes:
        """What git holds: of an LFS file its pointer."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return pointer.encode() if self.lfs else self.data

    @cached_property
    def oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.stored) + self.stored, usedforsecurity=False).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        lfs = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self.stored)}
        found = {"type": "file", "oid": self.oid, "path": path, "size": len(self.data)}
        return {**found, "lfs": lfs} if self.lfs else found


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    tree: dict[str, Blob]
    title: str
    text: str
    author: str
    date: str


class Repo:
    """kind: models, datasets or spaces."""

    def __init__(self, kind: str, name: str, private: bool, author: str) -> None:
        self.kind, self.name, self.private, self.created = kind, name, private, now()
        self.commits: dict[str, Commit] = {}
        self.refs: dict[str, str] = {}
        self.discussions: list[dict[str, Any]] = []
        self.busy = threading.Lock()  # one commit at a time
        self.add(
            "refs/heads/main", {".gitattributes": Blob(b"*.parquet filter=lfs\n", lfs=False)}, "initial commit", "", author
        )

    def add(self, ref: str, tree: dict[str, Blob], title: str, text: str, author: str) -> Commit:
        parent = self.refs.get(ref)
        listed = sorted((path, blob.oid) for path, blob in tree.items())
        told = json.dumps([parent, listed, title, text, author, len(self.commits)])
        sha = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = Commit(sha, parent, tree, title, text, author, now())
        self.refs[ref] = sha
        return self.commits[sha]

    def ref(self, revision: str) -> str:
        return revision if revision.startswith("refs/") else f"refs/heads/{revision}"

    def at(self, revision: str) -> Commit:
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if revision in self.commits:
            return self.commits[revision]
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision: str = "main") -> list[Commit]:
        """Newest first."""
        found, sha = [], self.at(revision).sha
        while sha is not None:
            found.append(self.commits[sha])
            sha = self.commits[sha].parent  # type: ignore[assignment]
        return found

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """What a test looks at."""
        return {path: blob.data for path, blob in sorted(self.at(revision).tree.items()) if path != ".gitattributes"}


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


class Hub:
    """The state, and the answer to each request. `asked`: (method, path, status) of all of them; status 0 was dropped."""

    def __init__(self) -> None:
        self.url = ""
        self.repos: dict[tuple[str, str], Repo] = {}
        self.uploaded: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, int]] = []
        self.sent_bytes = 0  # of files
        self.page_entries = 1000  # of a listing; then a Link header
        self.commit_seconds = 0.0  # that a commit takes; another one meanwhile is answered 409
        self.guard = threading.RLock()

    def fail(
        self,
        method: str,
        pattern: str,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        when: Literal["before", "after"] = "before",
        times: int = 1,
        then: Callable[[], object] | None = None,
        cut: int | None = None,
    ) -> None:
        """The next `times` requests of this method whose path matches `pattern` end so; no status: the connection drops, after
        `cut` bytes of the answer if given."""
        passes = cut is not None
        self.faults.append(Fault(method, re.compile(pattern), status, headers or {}, when, times, then, passes, cut))

    def watch(self, method: str, pattern: str, then: Callable[[], object], times: int = 1) -> None:
        """Calls `then` before the next such requests, which are answered as ever."""
        self.faults.append(Fault(method, re.compile(pattern), None, {}, "before", times, then, passes=True))

    def asked_for(self, pattern: str) -> int:
        """How many requests had such a path."""
        return sum(re.search(pattern, path) is not None for _, path, _ in self.asked)

    def repo(self, name: str, kind: str = "datasets") -> Repo:
        return self.repos[kind, name]

    def commits(self, name: str, kind: str = "datasets") -> list[str]:
        """Titles, oldest first, without the one that made the repository."""
        return [commit.title for commit in self.repo(name, kind).history()][-2::-1]

    def put(self, name: str, files: dict[str, bytes | None], kind: str = "datasets", title: str = "by hand") -> None:
        """A commit by somebody else. None: the file goes."""
        repo = self.repo(name, kind)
        with repo.busy:
            tree = dict(repo.at("main").tree)
            for path, data in files.items():
                if data is None:
                    del tree[path]
                else:
                    tree[path] = Blob(data, is_lfs(path, len(data)))
            repo.add("refs/heads/main", tree, title, "", "somebody")

    def handle(self, asked: Asked) -> Answer | None:
        """None: the connection drops."""
        fault = self._fault(asked)
        if fault is None:
            return self._answer(asked)
        if fault.when == "after":
            self._answer(asked)
        if fault.then is not None:
            fault.then()
        if fault.passes:
            return replace(self._answer(asked), cut=fault.cut)
        return None if fault.status is None else answer({"error": "injected"}, fault.status, **fault.headers)

    def _answer(self, asked: Asked) -> Answer:
        try:
            return route(self, asked)
        except Refused as error:
            return error.answer

    def _fault(self, asked: Asked) -> Fault | None:
        with self.guard:
            for fault in self.faults:
                if fault.times and fault.method == asked.method and fault.pattern.search(asked.path):
                    fault.times -= 1
                    return fault
        return None


def is_lfs(path: str, size: int) -> bool:
    return size > LFS_BYTES or (path.endswith(LFS_SUFFIXES) and size > 0)


def route(hub: Hub, asked: Asked) -> Answer:  # noqa: PLR0911 - a case of the protocol each
    parts = [unquote(part) for part in asked.path.split("/")[1:]]
    match (asked.method, *parts):
        case ("GET", "api", "agent-harnesses"):
            return answer({"standardEnvVars": [], "harnesses": {}})
        case ("GET", "api", "whoami-v2"):
            user = signed_in(asked)
            orgs = [{"name": name, "type": "org", "isEnterprise": False} for name in sorted(MEMBERS[user] - {user})]
            token = {"displayName": "test", "role": "write"}
            return answer({"type": "user", "id": user, "name": user, "orgs": orgs, "auth": {"accessToken": token}})
        case ("POST", "api", "validate-yaml"):
            return answer({"errors": [], "warnings": []})
        case ("POST", "api", "repos", "create"):
            return create(hub, asked)
        case ("PUT", "lfs", oid):
            if hashlib.sha256(asked.body).hexdigest() != oid:
                raise Refused(400, "sha256 mismatch")
            hub.uploaded[oid] = asked.body
            return Answer()
        case ("POST", "lfs-verify"):
            return Answer(200 if len(hub.uploaded.get(asked.json()["oid"], b"")) == asked.json()["size"] else 400)
        case ("GET" | "HEAD", "cdn", oid):
            if "authorization" in asked.headers:
                raise Refused(400, "credentials were sent to the CDN")
            return ranged(asked, hub.uploaded[oid], {})
        case (_, "api", "models" | "datasets" | "spaces" as kind, space, name, *rest):
            return of_repo(hub, asked, kind, f"{space}/{name}", rest)
    if match := re.fullmatch(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+?)(\.git/info/lfs/objects/batch|/resolve/.*)", asked.path):
        repo = readable(hub, asked, match[1] or "models", match[2])
        return batch(hub, asked) if match[3].startswith(".git") else resolve(hub, asked, repo, match[3])
    raise Refused(404, f"no such route: {asked.method} {asked.path}")


def signed_in(asked: Asked) -> str:
    if asked.user is None:
        raise Refused(401, "Invalid username or password.")
    return asked.user


def readable(hub: Hub, asked: Asked, kind: str, name: str) -> Repo:
    repo = hub.repos.get((kind, name))
    if repo is None or (repo.private and not may_write(asked.user, name)):
        raise Refused(404 if asked.user else 401, "Repository not found", "RepoNotFound")
    return repo


def may_write(user: str | None, name: str) -> bool:
    return user is not None and name.split("/", maxsplit=1)[0] in MEMBERS[user]


def writable(asked: Asked, repo: Repo) -> str:
    user = signed_in(asked)
    if not may_write(user, repo.name):
        raise Refused(403, f"You don't have the rights to write to {repo.name}")
    return user


def create(hub: Hub, asked: Asked) -> Answer:
    user, given = signed_in(asked), asked.json()
    name, kind = f"{given.get('organization') or user}/{given['name']}", f"{given.get('type') or 'model'}s"
    if not may_write(user, name):
        raise Refused(
            403, f"You don't have the rights to create a {kind[:-1]} under the namespace {name.split('/', maxsplit=1)[0]}"
        )
    url = f"{hub.url}/{'' if kind == 'models' else kind + '/'}{name}"
    with hub.guard:
        if (kind, name) in hub.repos:
            return answer({"error": "You already created this repo", "url": url}, 409)
        hub.repos[kind, name] = Repo(kind, name, given.get("visibility") == "private", user)
    return answer({"url": url, "name": name, "id": name})


def of_repo(hub: Hub, asked: Asked, kind: str, name: str, rest: list[str]) -> Answer:  # noqa: PLR0911 - as above
    """/api/KIND/NAME/..."""
    repo = readable(hub, asked, kind, name)
    match (asked.method, *rest):
        case ("GET",) | ("GET", "revision", _):
            return answer(about(repo, rest[1] if rest else "main", "blobs" in asked.query))
        case ("GET", "tree", revision, *path):
            return tree(hub, asked, repo, revision, "/".join(path))
        case ("POST", "paths-info", revision):
            wanted = asked.json()["paths"] if asked.body.startswith(b"{") else parse_qs(asked.body.decode())["paths"]
            found = listed(repo.at(revision), "", recursive=True)
            return answer([entry for entry in found if entry["path"] in wanted])
        case ("GET", "refs"):
            return answer(refs(repo))
        case ("GET", "commits", revision):
            shown = [{"id": c.sha, "title": c.title, "message": c.text, "date": c.date, "authors": [{"user": c.author}]}
                     for c in repo.history(revision)]  # fmt: skip
            return answer(shown)
        case ("POST", "preupload", revision):
            return preupload(asked, repo, revision)
        case ("POST", "commit", revision):
            return commit(hub, asked, repo, revision)
        case ("POST", "tag", revision):
            writable(asked, repo)
            ref = f"refs/tags/{asked.json()['tag']}"
            if ref in repo.refs:
                raise Refused(409, f"Reference already exists: {ref}")
            repo.refs[ref] = repo.at(revision).sha
            return answer({})
        case (_, "discussions", *which):
            return discussions(hub, asked, repo, which)
    raise Refused(404, f"no such route: {asked.method} {asked.path}")


def about(repo: Repo, revision: str, blobs: bool) -> dict[str, Any]:
    at = repo.at(revision)
    siblings = []
    for path, blob in sorted(at.tree.items()):
        entry = blob.entry(path)
        lfs = {"lfs": {"sha256": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.stored)}} if blob.lfs else {}
        siblings.append({"rfilename": path, **({"size": entry["size"], "blobId": blob.oid, **lfs} if blobs else {})})
    return {
        "_id": "0" * 24, "id": repo.name, "modelId": repo.name, "author": repo.name.split("/")[0], "sha": at.sha,
        "private": repo.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
        "createdAt": repo.created, "lastModified": at.date, "siblings": siblings,
    }  # fmt: skip


def listed(at: Commit, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below a folder, in order of their paths."""
    start = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for path, blob in at.tree.items():
        if not path.startswith(start):
            continue
        names = path[len(start) :].split("/")
        for depth in range(1, len(names) if recursive else min(len(names), 2)):
            name = start + "/".join(names[:depth])
            found[name] = {
                "type": "directory",
                "oid": hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(),
                "path": name,
                "size": 0,
            }
        if recursive or len(names) == 1:
            found[path] = blob.entry(path)
    return [entry for _, entry in sorted(found.items())]


def tree(hub: Hub, asked: Asked, repo: Repo, revision: str, folder: str) -> Answer:
    at = repo.at(revision)
    found = listed(at, folder, asked.query.get("recursive", "").lower() in {"1", "true"})
    if not found and folder:
        raise Refused(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
    if asked.query.get("expand", "").lower() in {"1", "true"}:
        found = [{**entry, "lastCommit": {"id": at.sha, "title": at.title, "date": at.date}} for entry in found]
    begin = int(asked.query.get("cursor", "0"))
    end = begin + hub.page_entries
    again = "&".join(f"{key}={value}" for key, value in {**asked.query, "cursor": str(end)}.items())
    more = {"Link": f'<{hub.url}{asked.path}?{again}>; rel="next"'} if end < len(found) else {}
    return answer(found[begin:end], **more)


def refs(repo: Repo) -> dict[str, Any]:
    names = {"branches": "refs/heads/", "tags": "refs/tags/", "pullRequests": "refs/pr/"}
    return {"converts": []} | {
        key: [
            {"name": ref.removeprefix(start), "ref": ref, "targetCommit": sha}
            for ref, sha in repo.refs.items()
            if ref.startswith(start)
        ]
        for key, start in names.items()
    }


def preupload(asked: Asked, repo: Repo, revision: str) -> Answer:
    if "create_pr" not in asked.query:
        writable_ref(asked, repo, revision)
    signed_in(asked)
    head = repo.at(revision).tree
    told = []
    for file in asked.json()["files"]:
        mode = "lfs" if is_lfs(file["path"], file["size"]) else "regular"
        old = head.get(file["path"])
        oid = {"oid": old.sha256 if old.lfs else old.oid} if old else {}
        told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
    return answer({"files": told})


def writable_ref(asked: Asked, repo: Repo, revision: str) -> str:
    """Who opened a pull request may push to it."""
    user = signed_in(asked)
    if number := re.fullmatch(r"refs/pr/(\d+)", revision):
        opened = repo.discussions[int(number[1]) - 1]["author"]["name"]
        return user if opened == user else writable(asked, repo)
    return writable(asked, repo)


def batch(hub: Hub, asked: Asked) -> Answer:
    signed_in(asked)
    told = []
    for each in asked.json()["objects"]:
        actions = {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}, "verify": {"href": f"{hub.url}/lfs-verify"}}
        told.append({**each, **({} if each["oid"] in hub.uploaded else {"actions": actions})})
    return answer({"transfer": "basic", "objects": told})


def commit(hub: Hub, asked: Asked, repo: Repo, revision: str) -> Answer:
    lines = [json.loads(line) for line in asked.body.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    as_pr = "create_pr" in asked.query
    user = signed_in(asked) if as_pr else writable_ref(asked, repo, revision)
    if not repo.busy.acquire(blocking=False):
        raise Refused(409, "Another commit is in progress; retry later")
    try:
        time.sleep(hub.commit_seconds)
        head = repo.at(revision)
        if header.get("parentCommit") not in {None, head.sha}:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        changed = applied(hub, head.tree, lines)
        ref, told = repo.ref(revision), {}
        if as_pr:
            number = open_discussion(repo, header["summary"], header.get("description", ""), user, pull_request=True)["num"]
            ref = f"refs/pr/{number}"
            told = {"pullRequestUrl": f"{page(hub, repo)}/discussions/{number}"}
        sha = repo.add(ref, changed, header["summary"], header.get("description", ""), user).sha
    finally:
        repo.busy.release()
    return answer({"success": True, "commitOid": sha, "commitUrl": f"{page(hub, repo)}/commit/{sha}", "hookOutput": "", **told})


def page(hub: Hub, repo: Repo) -> str:
    return f"{hub.url}/{'' if repo.kind == 'models' else repo.kind + '/'}{repo.name}"


def applied(hub: Hub, before: dict[str, Blob], lines: list[dict[str, Any]]) -> dict[str, Blob]:
    after = dict(before)
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            after[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
        elif line["key"] == "lfsFile":
            data = hub.uploaded.get(value["oid"])
            if data is None or len(data) != value["size"]:
                raise Refused(400, f"an LFS pointer points to a file that does not exist: {value['path']}")
            after[value["path"]] = Blob(data, lfs=True)
        elif line["key"] in {"deletedFile", "deletedFolder"}:
            gone = [path for path in after if path == value["path"] or path.startswith(value["path"].rstrip("/") + "/")]
            if not gone:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            for path in gone:
                del after[path]
    return after


def open_discussion(repo: Repo, title: str, text: str, user: str, *, pull_request: bool) -> dict[str, Any]:
    number = len(repo.discussions) + 1
    first = event(user, "comment", {"edited": False, "hidden": False, "latest": {"raw": text}})
    repo.discussions.append(
        {
            "num": number, "title": title, "status": "open", "author": {"name": user}, "createdAt": now(),
            "isPullRequest": pull_request, "repo": {"name": repo.name, "type": repo.kind[:-1]}, "events": [first],
            "changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "diff": "",
        }
    )  # fmt: skip
    if pull_request:
        repo.refs[f"refs/pr/{number}"] = repo.at("main").sha
    return repo.discussions[-1]


def event(user: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"id": "0", "type": kind, "createdAt": now(), "author": {"name": user}, "data": data}


def discussions(hub: Hub, asked: Asked, repo: Repo, which: list[str]) -> Answer:
    given = asked.json()
    match (asked.method, *which):
        case ("GET",):
            return answer({"discussions": repo.discussions, "count": len(repo.discussions), "start": 0})
        case ("POST",):
            user = signed_in(asked)
            text = given.get("description", "")
            return answer(open_discussion(repo, given["title"], text, user, pull_request=given.get("pullRequest", False)))
    if not which[0].isdecimal() or not 1 <= int(which[0]) <= len(repo.discussions):
        raise Refused(404, f"No discussion {which[0]}")
    one = repo.discussions[int(which[0]) - 1]
    match (asked.method, *which[1:]):
        case ("GET",):
            return answer(one)
        case ("POST", "comment"):
            happened = event(
                signed_in(asked), "comment", {"edited": False, "hidden": False, "latest": {"raw": given["comment"]}}
            )
        case ("POST", "status"):
            one["status"] = given["status"]
            happened = event(writable_ref(asked, repo, f"refs/pr/{one['num']}"), "status-change", {"status": given["status"]})
        case ("POST", "merge"):
            happened = event(merge(repo, one, writable(asked, repo)), "status-change", {"status": "merged"})
        case _:
            raise Refused(404, f"no such route: {asked.method} {asked.path}")
    one["events"].append(happened)
    return answer({"newMessage": happened, "newStatus": happened})


def merge(repo: Repo, one: dict[str, Any], user: str) -> str:
    """What the pull request changed since it left main, on top of main."""
    with repo.busy:
        ours = {commit.sha for commit in repo.history("main")}
        theirs = repo.history(f"refs/pr/{one['num']}")
        base = next((commit.tree for commit in theirs if commit.sha in ours), theirs[-1].tree)
        kept = {path: blob for path, blob in repo.at("main").tree.items() if path not in base or path in theirs[0].tree}
        changed = {path: blob for path, blob in theirs[0].tree.items() if base.get(path) != blob}
        made = repo.add("refs/heads/main", kept | changed, f"{one['title']} (#{one['num']})", "", user)
    one["status"] = "merged"
    one["changes"]["mergeCommitId"] = made.sha
    return user


def resolve(hub: Hub, asked: Asked, repo: Repo, rest: str) -> Answer:
    revision, *path = [unquote(part) for part in rest.removeprefix("/resolve/").split("/")]
    at = repo.at(revision)
    blob = at.tree.get("/".join(path))
    if blob is None:
        raise Refused(404, "Entry not found", "EntryNotFound")
    headers = {"X-Repo-Commit": at.sha, "ETag": f'"{blob.oid}"', "Accept-Ranges": "bytes"}
    if not blob.lfs:
        return ranged(asked, blob.data, headers)
    hub.uploaded.setdefault(blob.sha256, blob.data)
    elsewhere = hub.url.replace("127.0.0.1", "localhost")  # another origin, as the real CDN is
    headers |= {
        "X-Linked-Size": str(len(blob.data)),
        "X-Linked-Etag": f'"{blob.sha256}"',
        "Location": f"{elsewhere}/cdn/{blob.sha256}",
    }
    return Answer(302, b"", headers)


def ranged(asked: Asked, data: bytes, headers: dict[str, str]) -> Answer:
    if match := re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", "")):
        first, last = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
        return Answer(206, data[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"})
    return Answer(200, data, {**headers, "Content-Type": "application/octet-stream"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one packet: in two the second waits 40 ms for the first one's receipt
    hub: Hub  # of the subclass that `serving` makes

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def _respond(self) -> None:
        body = self._body()
        split = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(split.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in TOKENS:
            found: Answer | None = Refused(401, "Invalid credentials in Authorization header").answer
        else:
            found = self.hub.handle(Asked(self.command, split.path, query, headers, body, TOKENS.get(token)))
        self.hub.asked.append((self.command, split.path, found.status if found else 0))
        if found is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(found.status)
        for name, value in {"X-Request-Id": "test", **found.headers, "Content-Length": str(len(found.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body[: found.cut])
            self.hub.sent_bytes += len(found.body[: found.cut]) if "/cdn/" in self.path or "/resolve/" in self.path else 0
        if found.cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815 - the base class looks for these names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle of a request is what some tests are about."""


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub at `hub.url` until the block ends."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(url: str, home: Path, token: str = OWNER_TOKEN) -> dict[str, str]:
    """What a process needs so that its `huggingface_hub` talks to this Hub and keeps its files in `home`."""
    return {
        "HF_ENDPOINT": url,
        "HF_TOKEN": token,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1,localhost",
    }


@contextmanager
def at(url: str, home: Path, token: str = OWNER_TOKEN) -> Iterator[None]:
    """This process talks to this Hub, although `huggingface_hub` may have been imported before: it reads most of its
    environment only then."""
    from huggingface_hub import close_session, constants

    told = environment(url, home, token)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        patch.setattr(constants, "ENDPOINT", url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HOME", told["HF_HOME"])
        patch.setattr(constants, "HF_HUB_CACHE", told["HF_HUB_CACHE"])
        patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        close_session()
        try:
            yield
        finally:
            close_session()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A fresh Hub, and a client in this process that is signed in as `owner`."""
    with serving() as found, at(found.url, tmp_path / "hf"):
        yield found
