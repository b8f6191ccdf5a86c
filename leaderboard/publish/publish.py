"""`vddbench publish`: records, tables and the board to the Hub. Imports torch only to make previews of local payloads.

Records and manifests are only ever added, at paths that their content determines, so publishers never conflict. Tables and
board are generated from everything that the results repo contains at one commit, and replace the previous ones. If somebody
else published in the meantime, they are generated again. Every step can be interrupted and repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from vddbench import hub
from vddbench.hub import client
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.maintainers import MAINTAINERS, parse_maintainers
from vddbench.leaderboard.publish.contents import Contents, generated
from vddbench.leaderboard.publish.destination import Destination, check_folder, check_results, published_inventory
from vddbench.leaderboard.publish.local_files import gather_files
from vddbench.leaderboard.publish.outbox import copy_missing
from vddbench.leaderboard.publish.planned_commits import (
    PlannedCommit,
    additions,
    board_commits,
    evaluation_commits,
    table_commits,
)
from vddbench.leaderboard.site.inventory import INVENTORY, Inventory
from vddbench.system.progress import bar, say

ROUNDS = 10  # attempts at tables and board while others publish
EMPTY = hub.Listing("", {})  # of a repo that does not exist yet


def publish(
    destination: Destination, results: Sequence[Path], submissions: Sequence[Path], tag: str | None = None
) -> list[PlannedCommit]:
    """Publishes and returns the commits that were made, none if nothing changed. `tag` names the resulting state of the results
    repo.

    Raises ValueError if one of the repos contains files of somebody else, FileNotFoundError if there are no records at all,
    PermissionError, ConnectionError and other OSErrors of the Hub.
    """
    local = gather_files(results, submissions)
    missing = [repo for repo in (destination.results, destination.space) if not hub.exists(repo)]
    inspect_repos(destination, missing)
    for repo in missing:
        hub.create(repo)
    listing = hub.listing(destination.results)
    made = additions(destination.results, local, listing)
    tagged = hub.tagged(destination.results, tag) if tag is not None else None
    if tagged is not None and (made or tagged != listing.sha):
        raise ValueError(
            f"nothing was published: {destination.results} has a tag {tag!r} on {tagged[:8]}, and releases don't move: choose "
            "a new name"
        )
    with bar("records", len(made)) as progress:
        for commit in made:
            hub.commit(commit.repo, commit.add, commit.message)
            progress.advance()
    copy_missing(local.files, destination.cache)  # so that they are not downloaded again
    for _ in range(ROUNDS):
        try:
            sha = regenerate(destination, submissions, made)
        except hub.StaleParentError:
            say("somebody else has published in the meantime; generating the tables again")
            time.sleep(client.FIRST_WAIT_SECONDS * random.uniform(0, 1))
        else:
            if tag is not None:
                hub.tag(destination.results, tag, sha)
            return made
    raise ConnectionError(
        f"others published {ROUNDS} times while the tables were generated; your records are in {destination.results}, run the "
        "same command again later for the tables"
    )


class RepoStates(NamedTuple):
    """What the two repos contain before publishing."""

    results: hub.Listing
    space: hub.Listing
    board: Inventory


def inspect_repos(destination: Destination, missing: Sequence[hub.Repo]) -> RepoStates:
    """Raises ValueError if one of the repos contains files of somebody else."""
    repos = (destination.results, destination.space)
    results, space = (EMPTY if repo in missing else hub.listing(repo) for repo in repos)
    check_results(destination.results, results)
    return RepoStates(results, space, published_inventory(destination.space, space))


def regenerate(destination: Destination, submissions: Sequence[Path], made: list[PlannedCommit]) -> str:
    """Commits tables and board; appends the commits to `made` and returns the results repo's commit with the tables.

    Raises StaleParentError if a repo changed since it was listed. The Space is listed before the records that it will show, so
    that no older board replaces a newer one.
    """
    space = hub.listing(destination.space)
    published = published_inventory(destination.space, space)
    pulled = mirror.pull(destination.results, destination.cache)
    files = {path: destination.cache / path for path in pulled.paths}
    with generated(destination, files, submissions, published, maintainers_in(files)) as contents:
        tables = table_commits(destination.results, contents.tables, hub.listing(destination.results, pulled.sha))
        sha = send(tables, pulled.sha, made)
        send(board_commits(destination.space, contents.board, contents.inventory, space, published), space.sha, made)
        return send_evaluation(destination, contents, sha, made) if contents.evaluation else sha


def send_evaluation(destination: Destination, contents: Contents, sha: str, made: list[PlannedCommit]) -> str:
    """Commits eval.yaml on top of the tables; returns the newest commit of the results repo.

    The Hub checks this file and may refuse it, so it is the last commit, and only it fails.
    """
    try:
        listing = hub.listing(destination.results, sha)
        return send(evaluation_commits(destination.results, contents.evaluation, listing), sha, made)
    except OSError as error:
        raise type(error)(f"records, tables and board are published, but eval.yaml is not: {error}") from None


def maintainers_in(files: Mapping[str, Path]) -> frozenset[str]:
    """The maintainers in the MAINTAINERS file of a results repo, and the user who publishes now."""
    names = parse_maintainers(files[MAINTAINERS].read_bytes()) if MAINTAINERS in files else frozenset()
    return names | {hub.whoami()}


def send(planned: Sequence[PlannedCommit], parent: str, made: list[PlannedCommit]) -> str:
    """Makes the commits, each on top of the one before, the first on `parent`. Returns the hash of the last one."""
    with bar(planned[0].message if planned else "", len(planned)) as progress:
        for commit in planned:
            parent = hub.commit(commit.repo, commit.add, commit.message, delete=commit.delete, parent=parent).sha
            made.append(commit)
            progress.advance()
    return parent


def plan(destination: Destination, results: Sequence[Path], submissions: Sequence[Path]) -> Iterator[PlannedCommit]:
    """The commits that `publish` would make now. Changes nothing on the Hub.

    The files of a commit exist until the next one is requested.
    """
    local = gather_files(results, submissions)
    missing = [repo for repo in (destination.results, destination.space) if not hub.exists(repo)]
    states = inspect_repos(destination, missing)
    yield from additions(destination.results, local, states.results)
    files: dict[str, Path] = {}
    if states.results is not EMPTY:
        pulled = mirror.pull(destination.results, destination.cache, revision=states.results.sha)
        files = {path: destination.cache / path for path in pulled.paths}
    with generated(destination, local.files | files, submissions, states.board, maintainers_in(files)) as contents:
        yield from table_commits(destination.results, contents.tables, states.results)
        yield from board_commits(destination.space, contents.board, contents.inventory, states.space, states.board)
        yield from evaluation_commits(destination.results, contents.evaluation, states.results)


def write_trees(destination: Destination, results: Sequence[Path], submissions: Sequence[Path], into: Path) -> list[Path]:
    """Writes both repositories as `publish` would make them from local files alone: `into`/{datasets,spaces}/OWNER/NAME.

    Needs no network. Raises ValueError if one of the two folders contains files that no earlier call wrote.
    """
    folders = [into / f"{repo.kind}s" / repo.id for repo in (destination.results, destination.space)]
    for folder, repo in zip(folders, (destination.results, destination.space), strict=True):
        check_folder(folder, repo.kind)
    local = gather_files(results, submissions)
    with generated(destination, local.files, submissions) as contents:
        _replace_tree(folders[0], {**local.files, **contents.tables, **contents.evaluation})
        _replace_tree(folders[1], {**contents.board, INVENTORY: contents.inventory.to_bytes()})
    return folders


def _replace_tree(folder: Path, files: Mapping[str, hub.Content]) -> None:
    """Writes the files beside the folder and then swaps the two."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".tree.", dir=folder.parent) as name:
        building = Path(name, "tree")
        for path, content in files.items():
            place = building / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        if folder.exists():
            folder.rename(Path(name, "old"))
        building.rename(folder)
