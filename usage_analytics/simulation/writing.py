"""Names the file where the operating system refuses to write, as on a full disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from usage_analytics.errors import UserError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it, an `OSError` becomes a `UserError` that names the file or folder."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)  # pyarrow wraps the reason in its own words
        raise UserError(f"simulation: {path} cannot be written: {why}") from None
