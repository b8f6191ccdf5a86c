"""`vddbench site build`: the board as static pages that open from disk, without a network or a server.

`index.html` holds its style, script and charts; every submission has a page of its own with previews beside it. Jinja2 escapes
what strangers wrote, links are https only, and a content security policy allows only this package's script and style, by their
hashes. Tables are plain HTML: the script sorts and filters them, but the pages are complete without it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.marks import MARKS
from vddbench.leaderboard.site import instructions, kept, protocol_page
from vddbench.leaderboard.site.board import Board, board_of
from vddbench.leaderboard.site.downloads import write_downloads
from vddbench.leaderboard.site.entries import Entry, Table
from vddbench.leaderboard.site.inventory import Inventory, PayloadView
from vddbench.leaderboard.site.local_submissions import (
    Identity,
    LocalSubmission,
    find_published,
    find_submissions,
    identity,
)
from vddbench.leaderboard.site.page_writer import PageWriter
from vddbench.leaderboard.site.payload_views import payload_view
from vddbench.leaderboard.site.sections import TaskSection, in_order, task_section
from vddbench.leaderboard.site.unmeasured import sections_without_records
from vddbench.system.files import sha256_file
from vddbench.system.progress import bar

MAX_LEFT_OUT, MAX_LEFT_OUT_CHARS = 20, 500  # on the front page; `vddbench rank` and `publish` print all of them


def build(
    results: Sequence[Path], submissions: Sequence[Path], out: Path, maintainers: Collection[str] = (), keep: bool = False
) -> Path:
    """Writes the site into `out` and returns its `index.html`. keep: also writes previews beside the records, see kept.py.

    Removes pages of an earlier build that no longer exist; leaves other files in `out` alone. Raises FileNotFoundError if no
    record is valid, OSError if `out` cannot be written.
    """
    board = board_of(results, maintainers)
    local, refused = find_submissions([*submissions, *results])
    writer = PageWriter(out, newest_of(board), hidden=(*results, *submissions), kept=kept.kept_in(results))
    index = write_pages(writer, board, local, refused)
    inventory = writer.finish()
    if keep:
        kept.keep(results, out, inventory, local)
    return index


def build_published(
    board: Board, tree: Path, payloads: Sequence[Path], out: Path, published: Inventory, results_repo: str
) -> Inventory:
    """Writes the pages of a Space into `out` and returns the inventory of the whole Space.

    Every publisher makes the same pages, because these depend only on published manifests and on the bytes of payloads.
    Previews that cannot be made here, or that would be the same, stay on the Space: the inventory lists them, but `out` may
    lack them.

    tree: a copy of the results repo. published: the inventory of the Space as it is now.
    """
    on_hub, refused = find_published(tree / mirror.SUBMISSIONS, payloads)
    writer = PageWriter(out, newest_of(board), hidden=(tree, *payloads), published=published, results_repo=results_repo)
    write_pages(writer, board, on_hub, refused)
    return writer.finish()


def newest_of(board: Board) -> str:
    """The date of the newest record."""
    return max(one.record.date for one in board.evaluated)[:10]


def write_pages(
    writer: PageWriter, board: Board, submissions: Mapping[Identity, LocalSubmission], refused: Sequence[str]
) -> Path:
    """Writes all pages and returns the path of `index.html`."""
    left_out = [writer.without_folders(line) for line in (*board.left_out, *refused)]
    pages, tables = board.submissions(), board.tables_by_task()
    with bar("site", len(pages) + len(tables) + 1) as progress:
        in_tables = board.entries_by_page()
        for page, evaluated in pages.items():
            submission = submissions.get(identity(evaluated[0].record))
            write_submission(writer, board, page, evaluated, submission, in_tables.get(page, ()))
            progress.advance(note=page)
        sections = []
        for name, of_task in tables.items():
            spec = writer.specs.of(of_task[0].entries[0].evaluated[0])
            sections.append(task_section(name, of_task, spec, board.replayed))
            progress.advance(note=name)
        students = protocol_page.students()
        writer.page(
            "protocol.html", "protocol", rows=protocol_page.protocol_rows(), also=protocol_page.ALSO_FIXED, students=students
        )
        examples = {section.task.dataset: section.tables[0].table.entries[0].evaluated[0] for section in reversed(sections)}
        commands = [instructions.prepare(dataset, writer.specs.of(one)) for dataset, one in reversed(examples.items())]
        repo = writer.results_repo or instructions.EXAMPLE_REPO
        writer.page("submit.html", "submit", task=sections[0].name, prepare="\n".join(commands), repo=repo)
        index = write_index(writer, board, in_order([*sections, *sections_without_records(tables, board.replayed)]), left_out)
        progress.advance()
    return index


def write_index(writer: PageWriter, board: Board, sections: Sequence[TaskSection], left_out: Sequence[str]) -> Path:
    """Writes the front page, with all tables, and each table as files to download."""
    for section in sections:
        for part in section.tables:
            write_downloads(writer, part.table)
    return writer.page(
        "index.html",
        "index",
        sections=sections,
        aggregates=board.aggregates,
        views=writer.views,
        num_records=len(board.evaluated),
        num_submissions=len(board.submissions()),
        all_marks=MARKS,
        left_out=[line[:MAX_LEFT_OUT_CHARS] for line in left_out[:MAX_LEFT_OUT]],
        left_out_more=max(0, len(left_out) - MAX_LEFT_OUT),
    )


def write_submission(
    writer: PageWriter,
    board: Board,
    page: str,
    evaluated: Sequence[Evaluated],
    submission: LocalSubmission | None,
    in_tables: Sequence[tuple[Table, Entry]],
) -> None:
    """Writes the page of one distilled set, with its previews beside it."""
    records = [one.record for one in evaluated]
    spec = writer.specs.of(evaluated[0])
    published = None if writer.published is None else writer.published.pages.get(page, PayloadView())
    view = payload_view(submission, spec, writer.out / page, writer.previous.pages.get(page), published)
    view = view.model_copy(
        update={"missing": writer.without_folders(view.missing, *([submission.folder] if submission else ()))}
    )
    if view.previews is None and writer.published is None:
        beside_records = (one.view(page, writer.out / page) for one in writer.kept)
        view = next((one for one in beside_records if one is not None), view)
    if view.tensors:
        writer.views[page] = view
    if view.previews is not None:
        writer.written |= {f"{page}/{name}" for name in view.previews.names}
    manifest = None if submission is None else submission.manifest
    writer.page(
        f"{page}/index.html",
        "submission",
        records=[
            (one.record, sha256_file(one.path), writer.record_url(one))
            for one in sorted(evaluated, key=lambda one: (one.record.student, one.record.seed))
        ],
        one=records[0],
        manifest=manifest,
        view=view,
        commands=instructions.commands(evaluated, manifest, spec, writer.results_repo),
        bibtex=instructions.bibtex(records, manifest),
        reruns=board.reruns.get(records[0].submission_sha256, ()),
        tables=in_tables,
        root="../" * len(PurePosixPath(page).parts),
    )
