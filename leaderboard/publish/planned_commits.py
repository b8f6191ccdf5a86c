"""Plans commits to the Hub: files that a repo lacks and files that changed, split into commits of limited size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vddbench import hub
from vddbench.hub import commits
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish.destination import CARD, TABLE_FILES
from vddbench.leaderboard.publish.local_files import LocalFiles, is_content_named
from vddbench.leaderboard.site.inventory import BUILT_FILE, INVENTORY, Inventory

LINKING = {"index.html", CARD}  # link to other files, so they are added after them


@dataclass(frozen=True)
class PlannedCommit:
    """A commit that has not been made yet."""

    repo: hub.Repo
    message: str
    add: Mapping[str, hub.Content]
    delete: Sequence[str] = ()

    def description(self) -> str:
        """The text that `--dry-run` prints."""
        sizes = {path: len(data) if isinstance(data, bytes) else data.stat().st_size for path, data in self.add.items()}
        lines = [f"  + {path}  {size:,} bytes" for path, size in sizes.items()] + [f"  - {path}" for path in self.delete]
        return "\n".join([f'{self.repo}: "{self.message}", {sum(sizes.values()):,} bytes', *lines])


def additions(repo: hub.Repo, local: LocalFiles, listing: hub.Listing) -> list[PlannedCommit]:
    """Commits of local records and manifests that the repo lacks. A record and its predictions share a commit.

    If a file in the repo differs from the hash in its name, it is damaged, and the local file replaces it. A manifest in the
    repo is never replaced.
    """
    lacking = [
        path
        for path, file in local.files.items()
        if path not in listing.files or (is_content_named(path) and not listing.holds(path, file))
    ]
    records: dict[str, list[str]] = {}  # a record's two files, or one manifest
    for path in sorted(lacking):
        records.setdefault(path.rsplit(".", 1)[0], []).append(path)
    batches: list[dict[str, hub.Content]] = [{}]
    for paths in records.values():
        if batches[-1] and len(batches[-1]) + len(paths) > commits.COMMIT_FILES:
            batches.append({})
        batches[-1] |= {path: local.files[path] for path in paths}
    return [PlannedCommit(repo, _addition_message(batch), batch) for batch in batches if batch]


def _addition_message(paths: Mapping[str, hub.Content]) -> str:
    stems = {path.rsplit(".", 1)[0] for path in paths}
    counts = {
        name: sum(stem.startswith(f"{folder}/") for stem in stems)
        for name, folder in (("records", mirror.RECORDS), ("manifests", mirror.SUBMISSIONS))
    }
    counted = ", ".join(f"{count} {name if count > 1 else name[:-1]}" for name, count in counts.items() if count)
    tasks = sorted({path.split("/")[1] for path in paths})
    return f"Add {counted} of {', '.join(tasks[:3])}{f' and {len(tasks) - 3} more tasks' if len(tasks) > 3 else ''}"


def table_commits(repo: hub.Repo, files: Mapping[str, hub.Content], listing: hub.Listing) -> list[PlannedCommit]:
    """Commits after which the results repo contains these tables. Deletes tables that `publish` no longer makes."""
    obsolete = [path for path in TABLE_FILES if path in listing.files and path not in files]
    return changes(repo, "Regenerate the tables", files, listing, obsolete)


def evaluation_commits(repo: hub.Repo, files: Mapping[str, hub.Content], listing: hub.Listing) -> list[PlannedCommit]:
    """The commit of eval.yaml, alone; none if there is nothing to commit."""
    return changes(repo, "Describe the benchmark in eval.yaml", files, listing, ())


def board_commits(
    repo: hub.Repo, files: Mapping[str, hub.Content], inventory: Inventory, listing: hub.Listing, published: Inventory
) -> list[PlannedCommit]:
    """Commits after which the Space contains these pages and their inventory.

    Deletes pages of the `published` inventory that the new one does not list, and no other file. The new one may list previews
    that only the Space has.
    """
    obsolete = [
        path for path in published.files if path in listing.files and path not in inventory.files and BUILT_FILE.fullmatch(path)
    ]
    planned = changes(repo, "Regenerate the board", {**files, INVENTORY: inventory.to_bytes()}, listing, obsolete)
    if len(planned) > 1:  # an interruption between two of them must not leave files that no inventory lists
        union = Inventory(
            files=tuple(sorted({*inventory.files, *(path for path in published.files if path in listing.files)})),
            pages={**published.pages, **inventory.pages},
            specs={**published.specs, **inventory.specs},
        )
        planned[0] = replace(planned[0], add={INVENTORY: union.to_bytes(), **planned[0].add})
    return planned


def changes(
    repo: hub.Repo, message: str, files: Mapping[str, hub.Content], listing: hub.Listing, obsolete: Sequence[str]
) -> list[PlannedCommit]:
    """Commits after which the repo contains these files and none of the obsolete ones.

    One commit if possible. Otherwise files that link to others are added after them, then obsolete files are deleted, and the
    inventory comes last.
    """
    add = [path for path, content in files.items() if not listing.holds(path, content)]
    add.sort(key=lambda path: (path in LINKING, path))
    pages, inventory = [path for path in add if path != INVENTORY], [path for path in add if path == INVENTORY]
    steps = (
        [(path, True) for path in pages] + [(path, False) for path in sorted(obsolete)] + [(path, True) for path in inventory]
    )
    planned = []
    for first in range(0, len(steps), commits.COMMIT_FILES):
        part = steps[first : first + commits.COMMIT_FILES]
        added = {path: files[path] for path, is_added in part if is_added}
        planned.append(PlannedCommit(repo, message, added, [path for path, is_added in part if not is_added]))
    return planned
