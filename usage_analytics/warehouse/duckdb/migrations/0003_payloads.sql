-- Events say what they were about and how much was fetched for it; friction adds up the latter. Of events of before
-- neither is known, and of marts of before no payload was counted: the next close makes them anew, by their new rule.
-- Plans say what each preload saves and costs; those of before do not.
ALTER TABLE usage_events_closed ADD COLUMN entity VARCHAR;
ALTER TABLE usage_events_closed ADD COLUMN payload_bytes DOUBLE;
CREATE TABLE friction_of_now (
    trading_day DATE NOT NULL,
    mini_app VARCHAR NOT NULL,
    action VARCHAR,
    events BIGINT NOT NULL,
    timed BIGINT NOT NULL,
    latency_us BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    abandoned BIGINT NOT NULL,
    repeats BIGINT NOT NULL,
    sized BIGINT NOT NULL,
    payload_bytes BIGINT NOT NULL
);
INSERT INTO friction_of_now
SELECT trading_day, mini_app, action, events, timed, latency_us, errors, abandoned, repeats, 0, 0 FROM friction;
DROP TABLE friction;
ALTER TABLE friction_of_now RENAME TO friction;
ALTER TABLE preload_plan ADD COLUMN IF NOT EXISTS value_ms DOUBLE;
ALTER TABLE preload_plan ADD COLUMN IF NOT EXISTS saved_ms DOUBLE;
ALTER TABLE preload_plan ADD COLUMN IF NOT EXISTS cost_ms DOUBLE;
ALTER TABLE preload_plan ADD COLUMN IF NOT EXISTS payload_bytes DOUBLE;
