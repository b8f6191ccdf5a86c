"""`vddbench publish`: records, tables and the board to the Hub. No torch, but for the previews of payloads that are here.

Records and manifests are only ever added, at paths that their content gives, so publishers never conflict. Tables and
board are made from all that the results repo holds at one commit and replace what was there; when somebody else has published
in between, they are made again. Every step can be killed and repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from vddbench import hub
from vddbench.hub import client
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish.contents import made_from
from vddbench.leaderboard.publish.destination import Destination, board_there, check_folder, check_results
from vddbench.leaderboard.publish.local_files import copy, gather
from vddbench.leaderboard.publish.planned_commits import PlannedCommit, additions, board_due, tables_due
from vddbench.leaderboard.reruns import MAINTAINERS, parse_maintainers
from vddbench.leaderboard.site import inventory
from vddbench.system.progress import bar, say

ROUNDS = 10  # of making tables and board again because others published meanwhile
NOTHING = hub.Listing("", {})  # of a repo that isn't there yet


def publish(
    target: Destination, results: Sequence[Path], submissions: Sequence[Path], tag: str | None = None
) -> list[PlannedCommit]:
    """The commits that were made, none when all was there. `tag` names the state of the results repo afterwards.

    Raises ValueError when one of the repos holds what isn't ours, FileNotFoundError when there are no records at all,
    PermissionError, ConnectionError and other OSErrors of the Hub.
    """
    gathered = gather(results, submissions)
    missing = [repo for repo in (target.results, target.space) if not hub.exists(repo)]
    look(target, missing)
    for repo in missing:
        hub.create(repo)
    there = hub.listing(target.results)
    made = additions(target.results, gathered, there)
    taken = hub.tagged(target.results, tag) if tag is not None else None
    if taken is not None and (made or taken != there.sha):
        raise ValueError(
            f"nothing was published: {target.results} has a tag {tag!r} on {taken[:8]}, and releases don't move: take a new "
            "name"
        )
    with bar("records", len(made)) as progress:
        for planned in made:
            hub.commit(planned.repo, planned.add, planned.message)
            progress.advance()
    copy(gathered.files, target.cache)  # so that they needn't be fetched
    for _ in range(ROUNDS):
        try:
            sha = regenerate(target, submissions, made)
        except hub.StaleParentError:
            say("somebody else has published meanwhile; making the tables again from all there is now")
            time.sleep(client.FIRST_WAIT_SECONDS * random.uniform(0, 1))
        else:
            if tag is not None:
                hub.tag(target.results, tag, sha)
            return made
    raise ConnectionError(
        f"others published {ROUNDS} times while the tables were made; your records are in {target.results}, run the same "
        "command again later for the tables"
    )


def look(target: Destination, missing: Sequence[hub.Repo]) -> tuple[hub.Listing, hub.Listing, inventory.Inventory]:
    """Listings of results repo and Space, and the note of the board there. Raises ValueError when one holds what isn't ours."""
    results, space = (NOTHING if repo in missing else hub.listing(repo) for repo in (target.results, target.space))
    check_results(target.results, results)
    return results, space, board_there(target.space, space)


def regenerate(target: Destination, submissions: Sequence[Path], made: list[PlannedCommit]) -> str:
    """The results repo's commit with the tables; the commits that it took are added to `made`. Raises StaleParentError when a
    repo moved since it was listed: the Space is listed before the records it shows, so that no older board replaces a newer."""
    space = hub.listing(target.space)
    before = board_there(target.space, space)
    pulled = mirror.pull(target.results, target.cache)
    files = {path: target.cache / path for path in pulled.paths}
    with made_from(target, files, submissions, before, maintainers_in(files)) as found:
        sha = send(tables_due(target.results, found.tables, hub.listing(target.results, pulled.sha)), pulled.sha, made)
        send(board_due(target.space, found.board, found.note, space, before), space.sha, made)
    return sha


def maintainers_in(files: Mapping[str, Path]) -> frozenset[str]:
    """The maintainers of a results repo with these files, and who publishes now."""
    names = parse_maintainers(files[MAINTAINERS].read_bytes()) if MAINTAINERS in files else frozenset()
    return names | {hub.whoami()}


def send(due: Sequence[PlannedCommit], parent: str, made: list[PlannedCommit]) -> str:
    """Commits each on the one before, the first on `parent`; the last one's sha."""
    with bar(due[0].message if due else "", len(due)) as progress:
        for each in due:
            parent = hub.commit(each.repo, each.add, each.message, delete=each.delete, parent=parent).sha
            made.append(each)
            progress.advance()
    return parent


def plan(target: Destination, results: Sequence[Path], submissions: Sequence[Path]) -> Iterator[PlannedCommit]:
    """The commits that `publish` would make now, each while its files are there to be looked at. Changes nothing on the Hub."""
    gathered = gather(results, submissions)
    there, space, before = look(target, [repo for repo in (target.results, target.space) if not hub.exists(repo)])
    yield from additions(target.results, gathered, there)
    files: dict[str, Path] = {}
    if there is not NOTHING:
        pulled = mirror.pull(target.results, target.cache, revision=there.sha)
        files = {path: target.cache / path for path in pulled.paths}
    with made_from(target, gathered.files | files, submissions, before, maintainers_in(files)) as found:
        yield from tables_due(target.results, found.tables, there)
        yield from board_due(target.space, found.board, found.note, space, before)


def write_trees(target: Destination, results: Sequence[Path], submissions: Sequence[Path], into: Path) -> list[Path]:
    """Both repositories as `publish` would make them of what is here alone: `into`/{datasets,spaces}/OWNER/NAME. No network.
    Raises ValueError when one of the two folders holds what no earlier call wrote."""
    folders = [into / f"{repo.kind}s" / repo.id for repo in (target.results, target.space)]
    for folder, repo in zip(folders, (target.results, target.space), strict=True):
        check_folder(folder, repo.kind)
    gathered = gather(results, submissions)
    with made_from(target, gathered.files, submissions) as found:
        _write_tree(folders[0], {**gathered.files, **found.tables})
        _write_tree(folders[1], {**found.board, inventory.NOTE: inventory.text_of(found.note)})
    return folders


def _write_tree(folder: Path, files: Mapping[str, hub.Content]) -> None:
    """Takes the place of what an earlier call wrote."""
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
