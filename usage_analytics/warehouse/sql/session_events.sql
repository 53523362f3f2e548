-- Each event of the chosen trading days once, numbered by user session: a run of one user's events within a trading
-- day without a gap of 30 minutes. An event_id names one event of its user on its trading day; of several messages with
-- it, the first on Kafka counts.
single AS (
    SELECT * FROM usage_events WHERE {days}
    QUALIFY row_number() OVER (
        PARTITION BY trading_day, user_id, event_id ORDER BY topic, kafka_partition, kafka_offset
    ) = 1
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
