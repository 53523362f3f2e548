"""Cuts rows into pieces by their bytes, so that large ones are never held or written many at a time."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def text_bytes(columns: pa.Table | pa.RecordBatch) -> npt.NDArray[np.int64]:
    """How many bytes of text each row holds, whatever batches the rows came in."""
    sizes = np.zeros(columns.num_rows, np.int64)
    for column in columns.columns:
        if is_text(column.type):
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return sizes


def spans(sizes: npt.NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Ranges ``[start, end)`` of rows, each of at most so many bytes, or of one row."""
    ends, start = np.cumsum(sizes), 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield start, end
        start = end


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's values differ in length."""
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))
