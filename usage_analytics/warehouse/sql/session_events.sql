-- Each event of the chosen trading days once (a redelivered message repeats its event_id), numbered by user session:
-- a run of one user's events within a trading day without a gap of 30 minutes.
single AS (
    SELECT * FROM usage_events WHERE {days}
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY topic, kafka_partition, kafka_offset) = 1
), spaced AS (
    SELECT *, event_time_us - lag(event_time_us) OVER in_order AS gap_us FROM single
    WINDOW in_order AS (PARTITION BY trading_day, user_id ORDER BY event_time_us, topic, kafka_partition, kafka_offset)
), session_events AS (
    SELECT *, count(*) FILTER (gap_us IS NULL OR gap_us >= 1800000000) OVER in_order AS session_number FROM spaced
    WINDOW in_order AS (
        PARTITION BY trading_day, user_id ORDER BY event_time_us, topic, kafka_partition, kafka_offset
        ROWS UNBOUNDED PRECEDING
    )
)
