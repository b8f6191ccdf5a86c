"""`vddbench publish`: records, tables and the board to the Hub. No torch, but for the previews of payloads that are here.

Records, reviews and manifests are only ever added, at paths that their content gives, so publishers never conflict. Tables and
board are made from all that the results repo holds at one commit and replace what was there; when somebody else has published
in between, they are made again. Every step can be killed and repeated.
"""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from leaderboard.publish import cards, parquet
from leaderboard.publish.gather import copy, gather, tree_of
from leaderboard.publish.planned import CARD, Planned, additions, changed
from leaderboard.site import submitted
from leaderboard.site.board import Board, board_of
from vddbench import hub, mirror
from vddbench.manifest import MANIFEST
from vddbench.place import home
from vddbench.progress import bar, say

ROUNDS = 10  # of making tables and board again because others published meanwhile
EVAL, TABLES = "eval.yaml", "tables"
NOT_OURS = {".gitattributes"}  # of a Space: written by the Hub
NOTHING = hub.Listing("", {})  # of a repo that isn't there yet


@dataclass(frozen=True)
class Target:
    """Where to publish."""

    results: hub.Repo
    space: hub.Repo
    with_eval: bool = False  # also eval.yaml, which the Hub takes from benchmarks on its list only
    with_sets: bool = False  # fetch the distilled sets that are published, so that the board shows their clips

    @property
    def cache(self) -> Path:
        """The copy of the results repo on this machine."""
        return home() / "hub" / self.results.id.replace("/", "--")


def publish(target: Target, results: Sequence[Path], submissions: Sequence[Path], tag: str | None = None) -> list[Planned]:
    """The commits that were made, none when all was there. `tag` names the state of the results repo afterwards.

    Raises FileNotFoundError when there are no records at all, PermissionError, ConnectionError and other OSErrors of the Hub.
    """
    gathered = gather(results, submissions)
    for repo in (target.results, target.space):
        if not hub.exists(repo):
            hub.create(repo)
    made = additions(target.results, gathered, hub.listing(target.results))
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
            time.sleep(hub.FIRST_WAIT_SECONDS * random.uniform(0, 1))
        else:
            if tag is not None:
                hub.tag(target.results, tag, sha)
            return made
    raise ConnectionError(
        f"others published {ROUNDS} times while the tables were made; your records are in {target.results}, run the same "
        "command again later for the tables"
    )


def regenerate(target: Target, submissions: Sequence[Path], made: list[Planned]) -> str:
    """The results repo's commit with the tables; the commits that it took are added to `made`. Raises StaleParentError when a
    repo moved since it was listed: the Space is listed before the records it shows, so that no older board replaces a newer."""
    space = hub.listing(target.space)
    pulled = mirror.pull(target.results, target.cache)
    files = {path: target.cache / path for path in pulled.paths}
    with made_from(target, files, submissions) as (tables, site):
        tables_due = changed(target.results, tables, hub.listing(target.results, pulled.sha), is_ours=is_table)
        sha = send(tables_due, pulled.sha, made)
        send(changed(target.space, site, space, is_ours=lambda path: path not in NOT_OURS), space.sha, made)
    return sha


def send(due: Sequence[Planned], parent: str, made: list[Planned]) -> str:
    """Commits each on the one before, the first on `parent`; the last one's sha."""
    with bar(due[0].message if due else "", len(due)) as progress:
        for each in due:
            parent = hub.commit(each.repo, each.add, each.message, delete=each.delete, parent=parent).sha
            made.append(each)
            progress.advance()
    return parent


def plan(target: Target, results: Sequence[Path], submissions: Sequence[Path]) -> Iterator[Planned]:
    """The commits that `publish` would make now, each while its files are there to be looked at. Changes nothing on the Hub."""
    gathered = gather(results, submissions)
    there = hub.listing(target.results) if hub.exists(target.results) else NOTHING
    space = hub.listing(target.space) if hub.exists(target.space) else NOTHING
    yield from additions(target.results, gathered, there)
    files: dict[str, Path] = {}
    if there is not NOTHING:
        pulled = mirror.pull(target.results, target.cache, revision=there.sha)
        files = {path: target.cache / path for path in pulled.paths}
    with made_from(target, gathered.files | files, submissions) as (tables, site):
        yield from changed(target.results, tables, there, is_ours=is_table)
        yield from changed(target.space, site, space, is_ours=lambda path: path not in NOT_OURS)


def write_trees(target: Target, results: Sequence[Path], submissions: Sequence[Path], into: Path) -> list[Path]:
    """Both repositories as `publish` would make them of what is here alone: `into`/{datasets,spaces}/OWNER/NAME. No network."""
    gathered = gather(results, submissions)
    with made_from(target, gathered.files, submissions) as (tables, site):
        trees: dict[Path, Mapping[str, hub.Content]] = {
            into / "datasets" / target.results.id: {**gathered.files, **tables},
            into / "spaces" / target.space.id: site,
        }
        for folder, files in trees.items():
            _write_tree(folder, files)
    return list(trees)


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


def is_table(path: str) -> bool:
    """Of the results repo: regenerated, so removed when it is no longer made."""
    return path.startswith(f"{TABLES}/")


@contextmanager
def made_from(
    target: Target, files: Mapping[str, Path], submissions: Sequence[Path]
) -> Iterator[tuple[dict[str, hub.Content], dict[str, hub.Content]]]:
    """(tables and card of the results repo, files of the Space) made of exactly these records, reviews and manifests."""
    with tree_of(files, target.cache) as tree, _alone(target.cache / "site") as out:
        records = tree / mirror.RECORDS
        say(f"ranking {sum(path.endswith('.npz') for path in files)} records")
        board = board_of([records])
        for line in board.left_out:
            say(f"left out: {line.replace(f'{tree}/', '')}")
        sets = fetched_sets(target.cache, files) if target.with_sets else []
        site = site_files([records], [*submissions, *sets, tree / mirror.SUBMISSIONS], out)
        site[CARD] = cards.space_card(target.results.id).encode()
        yield table_files(target, board, records), site


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder that the board is built in, where previews are kept for the next time; one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process publishes from here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def fetched_sets(cache: Path, paths: Iterable[str]) -> list[Path]:
    """Folders of submissions with the payloads that published manifests point to."""
    from vddbench import sets

    found, _ = submitted.find([cache / mirror.SUBMISSIONS])
    pointing = [each.folder / MANIFEST for each in found.values() if each.manifest.payload is not None]
    sets.fetch_all(cache, sorted({path.relative_to(cache).as_posix() for path in pointing} & set(paths)))
    return sorted((cache / sets.SETS).glob("*"))


def table_files(target: Target, board: Board, records: Path) -> dict[str, hub.Content]:
    made = parquet.tables(board, records)
    card = cards.results_card(board, list(made), target.results.id, target.space.id, target.space.url)
    files: dict[str, hub.Content] = {f"{TABLES}/{name}": data for name, data in made.items()}
    files[CARD] = card.encode()
    if target.with_eval:
        files[EVAL] = cards.eval_yaml(board).encode()
    return files


def site_files(results: Sequence[Path], submissions: Sequence[Path], out: Path) -> dict[str, hub.Content]:
    """The board by path in the Space."""
    from leaderboard.site import build as site
    from leaderboard.site import built

    site.build(results, submissions, out)
    return {path: out / path for path in built.read(out).files}
