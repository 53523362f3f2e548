CREATE TABLE IF NOT EXISTS usage_events (
    load_window VARCHAR NOT NULL,
    event_id VARCHAR NOT NULL,
    event_time_us BIGINT NOT NULL,
    trading_day DATE NOT NULL,
    phase VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL,
    client_firm VARCHAR,
    user_session VARCHAR,
    mini_app VARCHAR NOT NULL,
    action VARCHAR,
    screen VARCHAR,
    latency_ms DOUBLE,
    properties VARCHAR,
    topic VARCHAR NOT NULL,
    kafka_partition INTEGER NOT NULL,
    kafka_offset BIGINT NOT NULL,
    kafka_timestamp_us BIGINT
);
-- One row per loaded chunk, written in the transaction that loads it.
CREATE TABLE IF NOT EXISTS load_ledger (
    load_window VARCHAR NOT NULL,
    topic VARCHAR NOT NULL,
    kafka_partition INTEGER NOT NULL,
    start_offset BIGINT NOT NULL,
    end_offset BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    dead_letters BIGINT NOT NULL,
    fingerprint VARCHAR NOT NULL,
    loaded_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (topic, kafka_partition, start_offset)
);
-- Shows, with the number of rows, whether they are still those that were loaded. Null in warehouses of before.
ALTER TABLE load_ledger ADD COLUMN IF NOT EXISTS offset_sum DECIMAL(38, 0);
-- How often the events of a trading day have changed: a mart is stale when it was made from an earlier version.
CREATE TABLE IF NOT EXISTS trading_day_versions (
    trading_day DATE PRIMARY KEY,
    version BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS mart_ledger (
    mart VARCHAR NOT NULL,
    trading_day DATE NOT NULL,
    version BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    refreshed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (mart, trading_day)
);
-- The rule that a mart was made by: a fingerprint of its SQL. Absent from warehouses of before, and null in their rows.
ALTER TABLE mart_ledger ADD COLUMN IF NOT EXISTS rule VARCHAR;
CREATE TABLE IF NOT EXISTS user_sessions (
    trading_day DATE NOT NULL,
    user_id VARCHAR NOT NULL,
    session_number BIGINT NOT NULL,
    client_firm VARCHAR,
    started_us BIGINT NOT NULL,
    ended_us BIGINT NOT NULL,
    events BIGINT NOT NULL,
    mini_apps BIGINT NOT NULL,
    first_mini_app VARCHAR NOT NULL,
    last_mini_app VARCHAR NOT NULL
);
CREATE TABLE IF NOT EXISTS app_transitions (
    trading_day DATE NOT NULL,
    fold INTEGER NOT NULL,
    prev3 VARCHAR,
    prev2 VARCHAR,
    prev1 VARCHAR,
    next VARCHAR NOT NULL,
    transitions BIGINT NOT NULL,
    dwell_us BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS preload_plan (
    trading_day DATE NOT NULL,
    context VARCHAR NOT NULL,
    context_order INTEGER NOT NULL,
    -- rank, mini_app and probability are null where the plan abstains
    rank INTEGER,
    mini_app VARCHAR,
    probability DOUBLE,
    transitions BIGINT NOT NULL
);
