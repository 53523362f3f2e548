"""Quix Streams: a streaming data frame into its own Parquet file sink."""

from quixstreams import Application
from quixstreams.sinks.community.file.formats import ParquetFormat
from quixstreams.sinks.community.file.local import LocalFileSink
from task import FETCHING, asked, done, event


def main() -> None:
    task = asked()
    application = Application(
        broker_address=task.servers,
        consumer_group="quixstreams",
        auto_offset_reset="earliest",
        loglevel="WARNING",
        commit_every=100_000,
        consumer_extra_config={"session.timeout.ms": 6000} | FETCHING,
        use_changelog_topics=False,
        state_dir=task.folder / "state",
    )
    read = written = 0

    def counted(value: bytes) -> dict[str, object] | None:
        nonlocal read, written
        read += 1
        row = event(value)
        written += row is not None
        return row

    frame = application.dataframe(application.topic(task.topic, value_deserializer="bytes"))
    frame = frame.apply(counted).filter(lambda row: row is not None)
    frame.sink(LocalFileSink(directory=str(task.folder), format=ParquetFormat(compression="zstd")))
    application.run(timeout=10)
    done(read, written)


if __name__ == "__main__":
    main()
