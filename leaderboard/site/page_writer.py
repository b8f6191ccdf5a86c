"""Pages on their way to a folder: rendered with what strangers wrote as text, under a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vddbench.leaderboard.site import filters, inventory
from vddbench.spec import DatasetSpec
from vddbench.system.files import replacing

PAGES = Path(__file__).with_name("pages")


def without(text: str, roots: Sequence[Path]) -> str:
    """A message without where folders lie on this machine: pages are for others."""
    for root in roots:
        for prefix in (str(root.resolve()), str(root)):
            if prefix not in {".", "/"}:
                text = text.replace(f"{prefix}/", "").replace(prefix, root.name)
    return text


@dataclass
class Site:
    """Pages on their way to a folder."""

    out: Path
    newest: str  # date of the newest record: the same records make the same pages on any day
    hidden: Sequence[Path] = ()  # folders whose place on this machine is nobody's business
    there: inventory.Inventory | None = None  # what is shown where it will be published; None: it stays here
    results_repo: str = ""  # where its records are published; "": they are not
    written: set[str] = field(default_factory=set)  # paths below `out`
    pages: dict[str, inventory.PayloadView] = field(default_factory=dict)  # by page; those with tensors
    specs: dict[str, DatasetSpec] = field(default_factory=dict)  # by the store's digest

    def __post_init__(self) -> None:
        self.before = inventory.read(self.out)
        loader = jinja2.FileSystemLoader(PAGES)
        self.jinja = jinja2.Environment(
            loader=loader,
            autoescape=True,
            finalize=filters.shown,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.jinja.filters |= filters.FILTERS
        self.jinja.globals["interval_svg"] = filters.interval_svg
        self.css = (PAGES / "board.css").read_text()
        self.script = (PAGES / "board.js").read_text()
        self.theme = (PAGES / "theme.js").read_text()

    def page(self, path: str, template: str, **content: Any) -> Path:
        """Renders one page and writes it."""
        policy = (
            f"default-src 'none'; style-src {_hash(self.css)}; script-src {_hash(self.theme)} {_hash(self.script)}; "
            "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
        )
        text = self.jinja.get_template(f"{template}.html.j2").render(
            {"root": "", **content},
            css=Markup(self.css),  # noqa: S704 - these three are files of this package
            script=Markup(self.script),  # noqa: S704
            theme=Markup(self.theme),  # noqa: S704
            policy=policy,
            newest=self.newest,
        )
        target = self.out / path
        with replacing(target) as file:
            file.write(text.encode())
        self.written.add(path)
        return target

    def without(self, line: str, more: Sequence[Path] = ()) -> str:
        return without(line, (*more, *self.hidden))

    def finish(self) -> inventory.Inventory:
        """Removes what an earlier build wrote and this one didn't, then says what this one wrote."""
        done = inventory.Inventory(files=tuple(sorted(self.written)), pages=self.pages, specs=self.specs)
        inventory.remove(self.out, set(self.before.files) - self.written)
        inventory.write(self.out, done)
        return done


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
