"""The folder of a warehouse's fresh files."""

import errno
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk, NotEnriched
from usage_analytics.lake.files import make_folder, sync
from usage_analytics.lake.literal_paths import for_duckdb
from usage_analytics.lake.sealed_parquet import Damaged, read_footer, verify_sealed

# DuckDB reads these two from the folders' names, and so opens no file of a window that is not asked for.
FROM_FOLDERS = "hive_partitioning = true, hive_types = {'load_window': VARCHAR, 'chunk_start': BIGINT}"


@dataclass(frozen=True)
class FreshFiles:
    """Files below a folder, each called by its path there."""

    folder: Path

    def put(self, window: str, chunk: EnrichedChunk) -> str:
        """Copy a chunk's file into the folder, durably; what it is called there.

        `NotEnriched` if the lake has another one by now than the chunk's.
        """
        record = chunk.record
        name = f"{record.name.removesuffix('.parquet')}.{uuid4().hex[:12]}.parquet"
        file = f"{folder_of(window)}/chunk_start={record.start}/{name}"
        path = self.folder / file
        make_folder(path.parent)
        try:
            _copy(chunk.path, path)
            footer = read_footer(path)
            found = (footer.rows, footer.facts.get("checksum"), footer.facts.get("fingerprint"))
            if found != (chunk.rows, record.checksum, chunk.fingerprint):
                remedy = f"materialize loaded_events of window {window} again"
                raise NotEnriched(f"{chunk.path} is another file than when it was looked at: {remedy}")
            sync(path)
            sync(path.parent)
        except BaseException:  # a full disk would otherwise get fuller at every attempt
            path.unlink(missing_ok=True)
            raise
        return file

    def is_there(self, file: str) -> bool:
        """Whether a file has a footer that can be read, and its size."""
        try:
            read_footer(self.folder / file)
        except Damaged:
            return False
        return True

    def columns(self, file: str) -> list[str]:
        """The columns of a file that is there."""
        return list(pq.read_schema(self.folder / file).names)

    def damage(self, file: str) -> str:
        """What is wrong with a file, to the last bit; nothing if it is whole."""
        try:
            verify_sealed(self.folder / file)
        except Damaged as damage:
            return str(damage)
        return ""

    def relation(self, files: Iterable[str]) -> str:
        """What to select the rows of files from, in DuckDB's SQL."""
        texts = ("'" + for_duckdb(self.folder / file).replace("'", "''") + "'" for file in files)
        return f"read_parquet([{', '.join(texts)}], {FROM_FOLDERS})"

    def sweep(self, files: Iterable[str], below: str = "") -> None:
        """Remove all but these files from the folder, or from one below it."""
        kept = {self.folder / file for file in files}
        for folder, _, names in os.walk(self.folder / below, topdown=False):
            for name in names:
                if (path := Path(folder, name)) not in kept:
                    path.unlink(missing_ok=True)
            if not any(Path(folder).iterdir()):
                Path(folder).rmdir()


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error  # not what was read


def folder_of(window: str) -> str:
    return f"load_window={window}"
