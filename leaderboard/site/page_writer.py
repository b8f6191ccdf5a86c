"""Renders pages and writes them into a folder. Strangers' text is escaped; a content security policy blocks other scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vddbench import hub
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.exchange.mirror import RECORDS
from vddbench.leaderboard.site import filters
from vddbench.leaderboard.site.dataset_specs import DatasetSpecs
from vddbench.leaderboard.site.inventory import Inventory, PayloadView, read_inventory, remove_built_files
from vddbench.leaderboard.site.kept import Kept
from vddbench.records.files import published_path
from vddbench.system.files import write_whole

PAGES = Path(__file__).with_name("pages")
STYLES = ("page.css", "board.css", "clips.css")
SCRIPTS = ("page.js", "clips.js", "board.js")  # board.js returns at once on pages without tables


def without_folders(text: str, roots: Sequence[Path]) -> str:
    """The text without paths of this machine, because pages are for others."""
    for root in roots:
        for prefix in (str(root.resolve()), str(root)):
            if prefix not in {".", "/"}:
                text = text.replace(f"{prefix}/", "").replace(prefix, root.name)
    return text


@dataclass
class PageWriter:
    """One build of the site into the folder `out`."""

    out: Path
    newest: str  # date of the newest record; pages show no other date, so the same records make the same pages on any day
    hidden: Sequence[Path] = ()  # folders whose paths must not appear on a page
    published: Inventory | None = None  # of the Space that the site will replace; None: the site is not published
    results_repo: str = ""  # where the records are published; "": nowhere
    kept: tuple[Kept, ...] = ()  # previews beside the records
    written: set[str] = field(default_factory=set)  # paths below `out`
    views: dict[str, PayloadView] = field(default_factory=dict)  # by page; only pages that list tensors

    def __post_init__(self) -> None:
        self.previous = read_inventory(self.out)
        self.specs = DatasetSpecs([*([self.published] if self.published else []), *(one.inventory for one in self.kept)])
        self.jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGES),
            autoescape=True,
            finalize=filters.printable,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.jinja.filters |= filters.FILTERS
        self.jinja.globals |= {"interval_svg": filters.interval_svg, "references_svg": filters.references_svg}
        self.css, self.script, self.theme = (
            "".join((PAGES / name).read_text() for name in names) for names in (STYLES, SCRIPTS, ("theme.js",))
        )

    def page(self, path: str, template: str, **content: Any) -> Path:
        """Renders one page and writes it."""
        policy = (
            f"default-src 'none'; style-src {_policy_hash(self.css)}; "
            f"script-src {_policy_hash(self.theme)} {_policy_hash(self.script)}; "
            "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
        )
        text = self.jinja.get_template(f"{template}.html.j2").render(
            {"root": "", **content},
            css=Markup(self.css),  # noqa: S704 - these three are files of this package
            script=Markup(self.script),  # noqa: S704
            theme=Markup(self.theme),  # noqa: S704
            policy=policy,
            newest=self.newest,
            repo_url=self.repo_url,
        )
        return self.file(path, text.encode())

    def file(self, path: str, data: bytes) -> Path:
        """Writes one file. path: below `out`; BUILT_FILE of inventory.py must allow it."""
        target = self.out / path
        write_whole(target, data)
        self.written.add(path)
        return target

    @property
    def repo_url(self) -> str:
        """The address of the results repo, or ""."""
        return hub.Repo(self.results_repo).url if self.results_repo else ""

    def record_url(self, one: Evaluated) -> str:
        """The address of a record in the results repo, or ""."""
        path = published_path(one.record, one.path.read_bytes()) if self.results_repo else Path()
        return f"{self.repo_url}/blob/main/{RECORDS}/{path.as_posix()}" if self.results_repo else ""

    def without_folders(self, text: str, *more: Path) -> str:
        return without_folders(text, (*more, *self.hidden))

    def finish(self) -> Inventory:
        """Removes files of the previous build that this one did not write, and writes the new inventory."""
        inventory = Inventory(files=tuple(sorted(self.written)), pages=self.views, specs=self.specs.exact)
        remove_built_files(self.out, set(self.previous.files) - self.written)
        inventory.write(self.out)
        return inventory


def _policy_hash(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
