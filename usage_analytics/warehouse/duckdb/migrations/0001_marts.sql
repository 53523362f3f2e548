-- From the first warehouses to those that the table registry describes: rows name their chunk, instants are whole
-- microseconds, marts have more columns. Marts are made anew by the next close, because their ledger is emptied.
ALTER TABLE load_ledger ADD COLUMN IF NOT EXISTS offset_sum DECIMAL(38, 0);
CREATE TABLE load_ledger_of_now (
    load_window VARCHAR NOT NULL,
    topic VARCHAR NOT NULL,
    kafka_partition INTEGER NOT NULL,
    start_offset BIGINT NOT NULL,
    end_offset BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    dead_letters BIGINT NOT NULL,
    fingerprint VARCHAR NOT NULL,
    loaded_us BIGINT NOT NULL,
    offset_sum DECIMAL(38, 0)
);
INSERT INTO load_ledger_of_now
SELECT load_window, topic, kafka_partition, start_offset, end_offset, row_count, dead_letters, fingerprint,
       epoch_us(loaded_at), offset_sum
FROM load_ledger;
DROP TABLE load_ledger;
ALTER TABLE load_ledger_of_now RENAME TO load_ledger;
CREATE TABLE usage_events_of_now (
    load_window VARCHAR NOT NULL,
    chunk_start BIGINT NOT NULL,
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
    properties VARCHAR USING COMPRESSION zstd,
    topic VARCHAR NOT NULL,
    kafka_partition INTEGER NOT NULL,
    kafka_offset BIGINT NOT NULL,
    kafka_timestamp_us BIGINT
);
INSERT INTO usage_events_of_now
SELECT e.load_window, coalesce(l.start_offset, e.kafka_offset), e.* EXCLUDE (load_window)
FROM usage_events e LEFT JOIN load_ledger l
  ON l.topic = e.topic AND l.kafka_partition = e.kafka_partition AND l.load_window = e.load_window
 AND e.kafka_offset >= l.start_offset AND e.kafka_offset < l.end_offset;
DROP TABLE usage_events;
ALTER TABLE usage_events_of_now RENAME TO usage_events_closed;
CREATE TABLE usage_events_fresh (
    load_window VARCHAR NOT NULL,
    chunk_start BIGINT NOT NULL,
    topic VARCHAR NOT NULL,
    kafka_partition INTEGER NOT NULL,
    days VARCHAR NOT NULL,
    file VARCHAR NOT NULL
);
CREATE TABLE trading_day_versions_of_now (trading_day DATE NOT NULL, version BIGINT NOT NULL);
INSERT INTO trading_day_versions_of_now SELECT trading_day, version FROM trading_day_versions;
DROP TABLE trading_day_versions;
ALTER TABLE trading_day_versions_of_now RENAME TO trading_day_versions;
DROP TABLE mart_ledger;
CREATE TABLE mart_ledger (
    mart VARCHAR NOT NULL,
    trading_day DATE NOT NULL,
    version BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    refreshed_us BIGINT NOT NULL,
    rule VARCHAR
);
DROP TABLE user_sessions;
CREATE TABLE user_sessions (
    trading_day DATE NOT NULL,
    user_id VARCHAR NOT NULL,
    session_number BIGINT NOT NULL,
    client_firm VARCHAR,
    started_us BIGINT NOT NULL,
    ended_us BIGINT NOT NULL,
    events BIGINT NOT NULL,
    mini_apps BIGINT NOT NULL,
    first_mini_app VARCHAR NOT NULL,
    last_mini_app VARCHAR NOT NULL,
    errors BIGINT NOT NULL
);
DROP TABLE app_transitions;
CREATE TABLE app_transitions (
    trading_day DATE NOT NULL,
    fold INTEGER,
    prev3 VARCHAR,
    prev2 VARCHAR,
    prev1 VARCHAR,
    next VARCHAR NOT NULL,
    transitions BIGINT NOT NULL,
    dwell_us BIGINT NOT NULL,
    timed BIGINT NOT NULL,
    latency_us BIGINT NOT NULL
);
CREATE TABLE user_profiles (
    trading_day DATE NOT NULL,
    user_id VARCHAR NOT NULL,
    mini_app VARCHAR NOT NULL,
    events BIGINT NOT NULL,
    visits BIGINT NOT NULL,
    user_sessions BIGINT NOT NULL,
    dwell_us BIGINT NOT NULL,
    errors BIGINT NOT NULL
);
CREATE TABLE usage_series (
    trading_day DATE NOT NULL,
    minute_us BIGINT NOT NULL,
    mini_app VARCHAR NOT NULL,
    events BIGINT NOT NULL,
    users BIGINT NOT NULL,
    errors BIGINT NOT NULL
);
CREATE TABLE co_use (
    trading_day DATE NOT NULL,
    mini_app VARCHAR NOT NULL,
    other VARCHAR NOT NULL,
    users BIGINT NOT NULL
);
CREATE TABLE paths (
    trading_day DATE NOT NULL,
    step_1 VARCHAR NOT NULL,
    step_2 VARCHAR,
    step_3 VARCHAR,
    step_4 VARCHAR,
    step_5 VARCHAR,
    user_sessions BIGINT NOT NULL
);
CREATE TABLE friction (
    trading_day DATE NOT NULL,
    mini_app VARCHAR NOT NULL,
    action VARCHAR,
    events BIGINT NOT NULL,
    timed BIGINT NOT NULL,
    latency_us BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    abandoned BIGINT NOT NULL,
    repeats BIGINT NOT NULL
);
CREATE TABLE latency_histogram (
    trading_day DATE NOT NULL,
    mini_app VARCHAR NOT NULL,
    action VARCHAR,
    bucket INTEGER NOT NULL,
    events BIGINT NOT NULL
);
CREATE TABLE funnels (
    trading_day DATE NOT NULL,
    funnel VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    users BIGINT NOT NULL,
    took_us BIGINT NOT NULL
);
