"""Rows of `rank`: an entry in a table as plain values by column, without pandas, which takes long to import."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from vddbench.leaderboard.entry import TableKey

Row = Mapping[str, Any]  # by the columns of `rank`, COLUMNS


def is_known(value: object) -> bool:
    """Whether a row has a value: neither None nor NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def table_of(row: Row) -> TableKey:
    """The table of a row."""
    return TableKey(*(row[name] for name in TableKey._fields))


def by_table(rows: Iterable[Row]) -> dict[TableKey, list[Row]]:
    """The rows of each table, in their order; tables sorted by name."""
    tables: dict[TableKey, list[Row]] = defaultdict(list)
    for row in rows:
        tables[table_of(row)].append(row)
    return dict(sorted(tables.items()))
