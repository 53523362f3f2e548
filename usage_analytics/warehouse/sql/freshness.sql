-- Seconds from arrival on Kafka until the transaction that loaded the chunk, over the usage events of a window.
SELECT quantile_cont(waited_s, 0.5) AS median_s, quantile_cont(waited_s, 0.95) AS p95_s
FROM (
    SELECT (epoch_us(l.loaded_at) - e.kafka_timestamp_us) / 1e6 AS waited_s
    FROM usage_events e JOIN load_ledger l
      ON e.topic = l.topic AND e.load_window = l.load_window AND e.kafka_partition = l.kafka_partition
     AND e.kafka_offset >= l.start_offset AND e.kafka_offset < l.end_offset
    WHERE l.topic = ? AND l.load_window = ?
)
