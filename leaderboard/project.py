"""The project itself as cards on the Hub name it: its version, the address of its code, and how to cite it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import yaml

from vddbench import __version__

LICENCE = "apache-2.0"  # of the code, of the records in its repository, and of the records that are published with it
TITLE = "vddbench: the referee for video dataset distillation"


def repository() -> str:
    """The https address of the code, which the build writes into the package's metadata; "" if it did not know one."""
    try:
        urls = metadata.metadata("vddbench").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # a clone that is not installed
        return ""
    addresses = dict(entry.split(", ", 1) for entry in urls if ", https://" in entry)
    return str(addresses.get("Repository", ""))


def code_link() -> str:
    """The package and its version as Markdown, linked if the address of the code is known."""
    name, address = f"vddbench {__version__}", repository()
    return f"[{name}]({address})" if address else name


def bibtex(year: str, protocol: str) -> str:
    """How to cite the benchmark. The protocol belongs to it: scores of two protocols cannot be compared."""
    fields = {
        "title": f"{{{TITLE}}}",
        "author": "{The vddbench authors}",
        "year": year,
        "note": f"version {__version__}, protocol {protocol}",
        "url": repository(),
    }
    return "\n".join(["@misc{vddbench,", *(f"  {name} = {{{value}}}," for name, value in fields.items() if value), "}"])


def size_category(count: int) -> str:
    """The Hub's name for a number of rows: `n<1K`, `1K<n<10K` and so on."""
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
    return names[min(len(names) - 1, max(0, len(str(count)) - 3))]


def front_matter(fields: Mapping[str, Any]) -> str:
    """The YAML with which a README on the Hub begins."""
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"
