"""Commits to the Hub before they are made: what a repo lacks, what has changed, in parts that a commit may have. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vddbench import hub
from vddbench.hub import commits
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.publish.destination import CARD, TABLE_FILES
from vddbench.leaderboard.publish.local_files import LocalFiles, is_content_named, whole_records_first
from vddbench.leaderboard.site import inventory

LAST = {"index.html", CARD}  # they point to other files, so they come after them


@dataclass(frozen=True)
class PlannedCommit:
    """A commit."""

    repo: hub.Repo
    message: str
    add: Mapping[str, hub.Content]
    delete: Sequence[str] = ()

    def shown(self) -> str:
        """As `--dry-run` prints it."""
        sizes = {path: len(data) if isinstance(data, bytes) else data.stat().st_size for path, data in self.add.items()}
        lines = [f"  + {path}  {size:,} bytes" for path, size in sizes.items()] + [f"  - {path}" for path in self.delete]
        return "\n".join([f'{self.repo}: "{self.message}", {sum(sizes.values()):,} bytes', *lines])


def additions(repo: hub.Repo, gathered: LocalFiles, there: hub.Listing) -> list[PlannedCommit]:
    """Commits of what the repo lacks; a record and its predictions are never in two. What is called by its content and holds
    something else than ours, which verified, is damaged and made good; a manifest that is there stays."""
    lacking = [
        path
        for path, file in gathered.files.items()
        if path not in there.files or (is_content_named(path) and not there.holds(path, file))
    ]
    groups = whole_records_first(lacking)
    made: list[PlannedCommit] = []
    batch: dict[str, hub.Content] = {}
    for group in [*groups, []]:
        if batch and (not group or len(batch) + len(group) > commits.COMMIT_FILES):
            made.append(PlannedCommit(repo, told(batch), batch))
            batch = {}
        batch |= {path: gathered.files[path] for path in group}
    return made


def told(paths: Mapping[str, hub.Content]) -> str:
    """The message of a commit that adds these."""
    stems = {path.rsplit(".", 1)[0] for path in paths}
    counts = {
        name: sum(stem.startswith(f"{folder}/") for stem in stems)
        for name, folder in (("records", mirror.RECORDS), ("manifests", mirror.SUBMISSIONS))
    }
    what = ", ".join(f"{count} {name if count > 1 else name[:-1]}" for name, count in counts.items() if count)
    tasks = sorted({path.split("/")[1] for path in paths})
    return f"Add {what} of {', '.join(tasks[:3])}{f' and {len(tasks) - 3} more tasks' if len(tasks) > 3 else ''}"


def tables_due(repo: hub.Repo, files: Mapping[str, hub.Content], there: hub.Listing) -> list[PlannedCommit]:
    """Commits that make the results repo hold these; a table that is no longer made goes."""
    gone = [path for path in TABLE_FILES if path in there.files and path not in files]
    return changed(repo, "Regenerate the tables", files, there, gone)


def board_due(
    repo: hub.Repo, files: Mapping[str, hub.Content], now: inventory.Inventory, there: hub.Listing, before: inventory.Inventory
) -> list[PlannedCommit]:
    """Commits that make the Space hold these pages and the note `now` of them. Files of the note of the board `before` go where
    `now` has them no more; others are left alone. `now` may have previews that are there already."""
    gone = [path for path in before.files if path in there.files and path not in now.files and inventory.FILE.fullmatch(path)]
    made = changed(repo, "Regenerate the board", {**files, inventory.NOTE: inventory.text_of(now)}, there, gone)
    if len(made) > 1:  # broken off between two of them, what is there then is ours all the same
        both = inventory.Inventory(
            files=tuple(sorted({*now.files, *(path for path in before.files if path in there.files)})),
            pages={**before.pages, **now.pages},
            specs={**before.specs, **now.specs},
        )
        made[0] = replace(made[0], add={inventory.NOTE: inventory.text_of(both), **made[0].add})
    return made


def changed(
    repo: hub.Repo, message: str, files: Mapping[str, hub.Content], there: hub.Listing, gone: Sequence[str]
) -> list[PlannedCommit]:
    """Commits that make the repo hold these files and none of `gone`. One, unless there are too many files: then the pages that
    point to others come after them, what goes goes after those, and the note of what is there is last."""
    add = [path for path, content in files.items() if not there.holds(path, content)]
    add.sort(key=lambda path: (path in LAST, path))
    note = [path for path in add if path == inventory.NOTE]
    steps = [(path, True) for path in add if path not in note]
    steps += [(path, False) for path in sorted(gone)] + [(path, True) for path in note]
    made = []
    for first in range(0, len(steps), commits.COMMIT_FILES):
        part = steps[first : first + commits.COMMIT_FILES]
        adding = {path: files[path] for path, is_added in part if is_added}
        made.append(PlannedCommit(repo, message, adding, [path for path, is_added in part if not is_added]))
    return made
