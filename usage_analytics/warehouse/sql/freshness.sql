-- Whole seconds from arrival on Kafka until the transaction that loaded the chunk, over the usage events of a window: the
-- least within which half, and 95 %, could be queried. By way of counts, so that memory does not grow with the window.
WITH waits AS (
    SELECT FLOOR((l.loaded_us - e.kafka_timestamp_us) / 1e6) AS waited_s
    FROM usage_events AS e
    JOIN load_ledger AS l
        ON l.topic = e.topic AND l.load_window = e.load_window AND l.kafka_partition = e.kafka_partition
       AND l.start_offset = e.chunk_start
    WHERE e.topic = :topic AND e.load_window = :load_window
      AND e.trading_day >= :first_day AND e.trading_day <= :last_day
      AND e.kafka_timestamp_us < 253402300800000000  -- from year 10000 on it is no time of arrival
),
by_second AS (
    SELECT waited_s, COUNT(*) AS events FROM waits GROUP BY waited_s
),
running AS (
    SELECT waited_s, SUM(events) OVER (ORDER BY waited_s ROWS UNBOUNDED PRECEDING) AS so_far, SUM(events) OVER () AS in_all
    FROM by_second
)
SELECT MIN(CASE WHEN 2 * so_far >= in_all THEN waited_s END) AS median_s,
       MIN(CASE WHEN 20 * so_far >= 19 * in_all THEN waited_s END) AS p95_s
FROM running
