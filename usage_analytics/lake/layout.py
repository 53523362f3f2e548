"""Where each file of the lake lives.

raw/<topic>/offsets/<Kafka partition>/<shard>/<start>.json      what is committed (see ingestion.offset_log)
raw/<topic>/offsets/losses/                                     marks where records of accepted losses are
raw/<topic>/offsets/beginnings/<id of the topic>.json           where Kafka partitions began when it was first seen
raw/<topic>/window=<key>/<chunk>.parquet                        messages as they came
dead_letters/<topic>/window=<key>/<chunk>.parquet               those that broke the contract; sensitive as raw
usage_events/<topic>/window=<key>/<chunk>.parquet               typed, enriched, pseudonymised
                                  <chunk>.parquet.damaged       put aside by loading, until it is made again
models/<model>/trading_day=<day>/                               fitted models
pseudonym_key.json                                              which key pseudonyms are made with, not telling it
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths below one lake's root, for one topic."""

    root: Path
    topic: str

    @property
    def offsets(self) -> Path:
        return self.root / "raw" / self.topic / "offsets"

    def raw_window(self, window: str) -> Path:
        return self.root / "raw" / self.topic / f"window={window}"

    def raw_chunk(self, window: str, file: str) -> Path:
        return self.raw_window(window) / file

    def raw_windows(self) -> list[str]:
        """Windows that have a folder for chunks, oldest first."""
        return _windows(self.root / "raw" / self.topic)

    def usage_events(self, window: str, chunk: str) -> Path:
        return self.root / "usage_events" / self.topic / f"window={window}" / f"{chunk}.parquet"

    def dead_letters(self, window: str, chunk: str) -> Path:
        return self.root / "dead_letters" / self.topic / f"window={window}" / f"{chunk}.parquet"

    def windows_with_dead_letters(self) -> list[str]:
        """Windows that have a folder for them, even an empty one."""
        return _windows(self.root / "dead_letters" / self.topic)

    def model(self, model: str, trading_day: date) -> Path:
        return self.root / "models" / model / f"trading_day={trading_day.isoformat()}"

    def model_days(self, model: str) -> list[date]:
        """Trading days that have a folder for the model, oldest first; other folders there are passed over."""
        days = []
        for folder in (self.root / "models" / model).glob("trading_day=*"):
            try:
                days.append(date.fromisoformat(folder.name.removeprefix("trading_day=")))
            except ValueError:
                continue
        return sorted(days)


def _windows(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("window=") for path in folder.glob("window=*"))
