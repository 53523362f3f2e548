"""How chDB reads usage events: the columns as ClickHouse keeps texts that repeat."""

from pathlib import Path

TEXT, MAYBE = "LowCardinality(String)", "LowCardinality(Nullable(String))"
COLUMNS = (
    f"event_id String, event_time_us Int64, trading_day Date32, phase {TEXT}, user_id String, client_firm {MAYBE}, "
    f"user_session Nullable(String), mini_app {TEXT}, action {MAYBE}, screen {MAYBE}, latency_ms Nullable(Float64), "
    f"properties Nullable(String), topic {TEXT}, kafka_partition Int32, kafka_offset Int64, "
    f"kafka_timestamp_us Nullable(Int64), entity {MAYBE}, payload_bytes Nullable(Float64)"
)


def parquet(lake: Path) -> str:
    return f"file('{lake}/**/*.parquet', Parquet, '{COLUMNS}')"
