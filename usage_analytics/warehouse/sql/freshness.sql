-- Whole seconds from arrival on Kafka until the transaction that loaded the chunk, over the usage events of a window: the
-- least within which half, and 95 %, could be queried. By way of counts, so that memory does not grow with the window.
WITH by_second AS (
    SELECT floor((epoch_us(l.loaded_at) - e.kafka_timestamp_us) / 1e6) AS waited_s, count(*) AS events
    FROM usage_events e JOIN load_ledger l
      ON e.topic = l.topic AND e.load_window = l.load_window AND e.kafka_partition = l.kafka_partition
     AND e.kafka_offset >= l.start_offset AND e.kafka_offset < l.end_offset
    WHERE l.topic = ? AND l.load_window = ? AND e.kafka_timestamp_us IS NOT NULL
    GROUP BY 1
),
running AS (
    SELECT waited_s, sum(events) OVER (ORDER BY waited_s) AS so_far, sum(events) OVER () AS in_all FROM by_second
)
SELECT min(CASE WHEN so_far >= 0.5 * in_all THEN waited_s END) AS median_s,
       min(CASE WHEN so_far >= 0.95 * in_all THEN waited_s END) AS p95_s
FROM running
