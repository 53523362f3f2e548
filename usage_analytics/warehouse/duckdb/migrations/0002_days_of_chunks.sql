-- The ledger says between which trading days a chunk's rows are, so that they are not looked for in all history.
ALTER TABLE load_ledger ADD COLUMN first_day DATE;
ALTER TABLE load_ledger ADD COLUMN last_day DATE;
UPDATE load_ledger AS l SET first_day = d.first_day, last_day = d.last_day
FROM (
    SELECT load_window, topic, kafka_partition, chunk_start, MIN(trading_day) AS first_day, MAX(trading_day) AS last_day
    FROM usage_events_closed GROUP BY load_window, topic, kafka_partition, chunk_start
    UNION ALL
    SELECT load_window, topic, kafka_partition, chunk_start, CAST(split_part(days, ' ', 1) AS DATE),
           CAST(split_part(days, ' ', -1) AS DATE)
    FROM usage_events_fresh
) AS d
WHERE d.load_window = l.load_window AND d.topic = l.topic AND d.kafka_partition = l.kafka_partition
  AND d.chunk_start = l.start_offset;
