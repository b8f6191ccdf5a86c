"""Where to publish, and whether it is ours: what somebody else has put there is neither replaced nor deleted. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from vddbench import hub
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish.cards import MARK, SAYS
from vddbench.leaderboard.reruns import MAINTAINERS
from vddbench.leaderboard.site import inventory
from vddbench.system.home import home

CARD, EVAL, TABLES = "README.md", "eval.yaml", "tables"
TABLE_FILES = [f"{TABLES}/{name}" for name in SAYS]
GIT = ".gitattributes"  # the Hub's
NEW = {GIT, CARD, "index.html", "style.css"}  # what the Hub puts into a new repo; the last two into a static Space
MAX_CARD_BYTES = 10_000_000
NAMED = 3  # files in a message


@dataclass(frozen=True)
class Destination:
    """Two repos, or two folders below the one of `--local`."""

    results: hub.Repo
    space: hub.Repo
    with_eval: bool = False  # also eval.yaml, which the Hub takes from benchmarks on its list only
    with_sets: bool = False  # fetch the distilled sets that are published, so that the board shows their clips

    @property
    def cache(self) -> Path:
        """The copy of the results repo on this machine."""
        return home() / "hub" / self.results.id.replace("/", "--")


def check_results(repo: hub.Repo, there: hub.Listing) -> None:
    """Raises ValueError unless the repo is new, holds records alone, or has a README that `publish` wrote."""
    others = [path for path in there.files if path not in {GIT, MAINTAINERS} and mirror.most_bytes(path) is None]
    if not others or _is_new(repo, there):
        return
    if CARD in there.files and is_marked(hub.fetch(repo, CARD, there.sha, MAX_CARD_BYTES).read_bytes()):
        return
    raise not_ours(str(repo), others)


def board_there(repo: hub.Repo, there: hub.Listing) -> inventory.Inventory:
    """What the Space's board consists of, empty when it is new. Raises ValueError when it holds something else."""
    if inventory.NOTE in there.files:
        note = inventory.parsed(hub.fetch(repo, inventory.NOTE, there.sha, inventory.MAX_BYTES).read_bytes())
        if note is not None:
            return whole(note, there)
    elif set(there.files) <= {GIT} or _is_new(repo, there):
        return inventory.Inventory()
    raise not_ours(str(repo), [path for path in there.files if path != GIT])


def whole(note: inventory.Inventory, there: hub.Listing) -> inventory.Inventory:
    """Without previews that somebody has deleted."""
    pages = {
        page: looked
        for page, looked in note.pages.items()
        if looked.previews is None or all(f"{page}/{each.file}" in there.files for each in looked.previews.shown)
    }
    return note.model_copy(update={"pages": pages})


def _is_new(repo: hub.Repo, there: hub.Listing) -> bool:
    return set(there.files) <= NEW and hub.untouched(repo, there.sha)


def is_marked(card: bytes) -> bool:
    """Is it the README of a results repo of ours? Its front matter has the tag."""
    _, begin, rest = card.decode(errors="replace").partition("---\n")
    try:
        front = yaml.safe_load(rest.partition("\n---\n")[0]) if begin else None
    except (yaml.YAMLError, RecursionError):
        return False
    tags = front.get("tags") if isinstance(front, dict) else None
    return isinstance(tags, list) and MARK in tags


def check_folder(folder: Path, kind: str) -> None:
    """Raises ValueError unless it is absent, empty, or holds what `publish --local` wrote and nothing else."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise not_ours(str(folder), [folder.name])
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    if kind == "space":
        mine = inventory.parsed((folder / inventory.NOTE).read_bytes()) if inventory.NOTE in paths else None
        others = paths - ({CARD, inventory.NOTE, *mine.files} if mine is not None else set())
    else:
        marked = CARD in paths and is_marked((folder / CARD).read_bytes())
        known = {
            path for path in paths if mirror.most_bytes(path) is not None or path in {CARD, EVAL, MAINTAINERS, *TABLE_FILES}
        }
        others = paths - (known if marked else set())
    if others:
        raise not_ours(str(folder), others)


def not_ours(where: str, files: Iterable[str]) -> ValueError:
    found = sorted(files)
    more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    return ValueError(
        f"{where} holds what `vddbench publish` did not put there: {', '.join(found[:NAMED])}{more}; nothing was changed. "
        "Take another name, or one that is empty"
    )
