"""The two repositories to publish to, and the check that they are new or were written by `publish`.

`publish` never replaces or deletes files that somebody else put there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from vddbench import hub
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.maintainers import MAINTAINERS
from vddbench.leaderboard.publish.cards import MARK, TABLE_DESCRIPTIONS
from vddbench.leaderboard.site.inventory import INVENTORY, MAX_INVENTORY_BYTES, Inventory, parse_inventory
from vddbench.system.home import home

CARD, EVAL, TABLES = "README.md", "eval.yaml", "tables"
TABLE_FILES = [f"{TABLES}/{name}" for name in TABLE_DESCRIPTIONS]
GIT_ATTRIBUTES = ".gitattributes"  # the Hub writes it
HUB_FILES = {GIT_ATTRIBUTES, CARD, "index.html", "style.css"}  # in a repo that the Hub just made; the last two in a Space
MAX_CARD_BYTES = 10_000_000
MAX_NAMED = 3  # files in a message


@dataclass(frozen=True)
class Destination:
    """Two repos on the Hub; with `--local`, two folders."""

    results: hub.Repo
    space: hub.Repo
    with_eval: bool = False  # also eval.yaml, which the Hub accepts only from benchmarks on its list
    with_sets: bool = False  # download the published distilled sets, so that the board shows previews of their clips

    @property
    def cache(self) -> Path:
        """The copy of the results repo on this machine."""
        return home() / "hub" / self.results.id.replace("/", "--")


def check_results(repo: hub.Repo, listing: hub.Listing) -> None:
    """Raises ValueError unless the repo is new, contains only records, or has a README that `publish` wrote."""
    others = [path for path in listing.files if path not in {GIT_ATTRIBUTES, MAINTAINERS} and mirror.most_bytes(path) is None]
    if not others or _is_new(repo, listing):
        return
    if CARD in listing.files and is_results_card(hub.fetch(repo, CARD, listing.sha, MAX_CARD_BYTES).read_bytes()):
        return
    raise foreign_files(str(repo), others)


def published_inventory(repo: hub.Repo, listing: hub.Listing) -> Inventory:
    """The inventory of the board in the Space, empty if the Space is new. Raises ValueError if it contains something else."""
    if INVENTORY in listing.files:
        inventory = parse_inventory(hub.fetch(repo, INVENTORY, listing.sha, MAX_INVENTORY_BYTES).read_bytes())
        if inventory is not None:
            return without_deleted_previews(inventory, listing)
    elif set(listing.files) <= {GIT_ATTRIBUTES} or _is_new(repo, listing):
        return Inventory()
    raise foreign_files(str(repo), [path for path in listing.files if path != GIT_ATTRIBUTES])


def without_deleted_previews(inventory: Inventory, listing: hub.Listing) -> Inventory:
    """The inventory without pages of which somebody deleted a preview."""
    pages = {
        page: view
        for page, view in inventory.pages.items()
        if view.previews is None or all(f"{page}/{name}" in listing.files for name in view.previews.names)
    }
    return inventory.model_copy(update={"pages": pages})


def _is_new(repo: hub.Repo, listing: hub.Listing) -> bool:
    return set(listing.files) <= HUB_FILES and hub.untouched(repo, listing.sha)


def is_results_card(card: bytes) -> bool:
    """Whether a README belongs to a results repo that `publish` wrote: its front matter has the tag."""
    _, begin, rest = card.decode(errors="replace").partition("---\n")
    try:
        front = yaml.safe_load(rest.partition("\n---\n")[0]) if begin else None
    except (yaml.YAMLError, RecursionError):
        return False
    tags = front.get("tags") if isinstance(front, dict) else None
    return isinstance(tags, list) and MARK in tags


def check_folder(folder: Path, kind: str) -> None:
    """Raises ValueError unless the folder is missing or empty, or contains only what `publish --local` wrote."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise foreign_files(str(folder), [folder.name])
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    own: set[str] = set()
    if kind == "space":
        inventory = parse_inventory((folder / INVENTORY).read_bytes()) if INVENTORY in paths else None
        if inventory is not None:
            own = {CARD, INVENTORY, *inventory.files}
    elif CARD in paths and is_results_card((folder / CARD).read_bytes()):
        own = {CARD, EVAL, MAINTAINERS, *TABLE_FILES, *(path for path in paths if mirror.most_bytes(path) is not None)}
    if others := paths - own:
        raise foreign_files(str(folder), others)


def foreign_files(place: str, files: Iterable[str]) -> ValueError:
    """The error for a repo or folder that contains files of somebody else."""
    names = sorted(files)
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ValueError(
        f"{place} contains files that `vddbench publish` did not put there: {', '.join(names[:MAX_NAMED])}{more}; nothing was "
        "changed. Choose another name, or a place that is empty"
    )
