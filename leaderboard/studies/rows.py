"""The rows of a study in a CSV file: each is on disk once it is added, and is not computed again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vddbench.system.files import write_whole

Row = Mapping[str, object]


class Rows:
    """The rows of a file. Those that it had keep their text: a blank among whole numbers makes no fractions of them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[Row] = pd.read_csv(file, keep_default_na=False).to_dict("records") if file.exists() else []  # type: ignore[assignment]

    def has(self, key: Row) -> bool:
        """Whether a row has these values. One without a protocol, of which it is not known, has none."""
        return any(matches(row, key) for row in self.rows)

    def add(self, *new: Row) -> None:
        self.rows += new
        write_whole(self.file, self._csv({}))

    def table(self, key: Row | None = None) -> pd.DataFrame:
        """The rows with these values, or all; blanks are NaN."""
        return pd.read_csv(io.BytesIO(self._csv(key or {})))

    def _csv(self, key: Row) -> bytes:
        return pd.DataFrame([row for row in self.rows if matches(row, key)]).to_csv(index=False).encode()


def matches(row: Row, key: Row) -> bool:
    return all(row.get(name) == value for name, value in key.items())
