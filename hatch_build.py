"""Completes the package's metadata when it is built: the address of the code, and a README whose links work on PyPI.

The address is that of the clone's remote `origin` if it is on GitHub, so a fork links to itself. A source archive has no git,
but holds the address in its PKG-INFO. Without an address, links to files become plain text and pictures are left out.
"""

from __future__ import annotations

import re
import subprocess
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

README = "README.md"
BRANCH = "main"
GITHUB = re.compile(r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)github\.com[/:](?P<repo>[\w.-]+/[\w.-]+?)(?:\.git)?/?")
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?://|mailto:|#)(?P<path>[^)\s]+)\)")


class Completed(MetadataHookInterface):
    """Sets `readme` and `urls`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        address = address_in(root)
        text = absolute((root / README).read_text(encoding="utf-8"), address)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls(address)


def address_in(root: Path) -> str:
    """The https address of the code on GitHub, without the user name and token that a remote may hold; "" if it is unknown."""
    archived = root / "PKG-INFO"
    if archived.is_file():
        entries = HeaderParser().parsestr(archived.read_text(encoding="utf-8")).get_all("Project-URL") or []
        return next((entry.partition(", ")[2] for entry in entries if entry.startswith("Repository, ")), "")
    command = ["git", "-C", str(root), "config", "--get", "remote.origin.url"]
    try:
        remote = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git on this machine
        return ""
    found = GITHUB.fullmatch(remote)
    return f"https://github.com/{found['repo']}" if found else ""


def urls(address: str) -> dict[str, str]:
    """The links that PyPI shows beside the README."""
    if not address:
        return {}
    pages = {"Documentation": f"tree/{BRANCH}/docs", "Changelog": f"blob/{BRANCH}/CHANGELOG.md", "Issues": "issues"}
    return {"Repository": address, **{name: f"{address}/{path}" for name, path in pages.items()}}


def absolute(markdown: str, address: str) -> str:
    """The text with its links to files of the repository as absolute ones."""

    def replaced(link: re.Match[str]) -> str:
        if not address:
            return "" if link["picture"] else link["text"]
        kind = "raw" if link["picture"] else "blob"
        return f"{link['picture']}[{link['text']}]({address}/{kind}/{BRANCH}/{link['path']})"

    return LINK.sub(replaced, markdown)
