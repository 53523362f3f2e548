-- Of usage events with the same id of one user on one day, all but the first on Kafka. Few repeat: those that may are
-- found by a fingerprint, which takes less room than two texts, and only these are compared.
WITH doubtful AS (
    SELECT FINGERPRINT(e.user_id, e.event_id) AS fingerprint FROM usage_events AS e WHERE {days}
    GROUP BY FINGERPRINT(e.user_id, e.event_id) HAVING COUNT(*) > 1
),
copies AS (
    SELECT e.topic, e.kafka_partition, e.kafka_offset,
           ROW_NUMBER() OVER (
               PARTITION BY e.trading_day, e.user_id, e.event_id ORDER BY e.topic, e.kafka_partition, e.kafka_offset
           ) AS copy
    FROM usage_events AS e
    JOIN doubtful AS d ON d.fingerprint = FINGERPRINT(e.user_id, e.event_id)
    WHERE {days}
)
SELECT topic, kafka_partition, kafka_offset
FROM copies
WHERE copy > 1
