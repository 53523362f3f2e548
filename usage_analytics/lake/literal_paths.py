"""How other readers must be told a path so that they take it for that one file, and not for a pattern of names.

polars and pyarrow read a path as it is (``glob=False`` for polars); DuckDB knows patterns only.
"""

import re
from pathlib import Path


def for_duckdb(path: Path) -> str:
    """The text by which DuckDB's ``read_parquet`` reads this file alone, whatever signs of a pattern its path holds.

    A path with a backslash has no such text; `settings.usable_home` refuses it.
    """
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))
