-- Counts of a mini-app's actions, apart by the bucket of their latency: the two leading digits and the length.
WITH measured AS (
    SELECT trading_day, mini_app, action, latency_us, error, abandoned, repeated, payload_bytes,
           CAST(CASE WHEN latency_us < 10 THEN 100 + latency_us
                     WHEN latency_us < 100 THEN 200 + latency_us
                     WHEN latency_us < 1000 THEN 300 + (latency_us - latency_us % 10) / 10
                     WHEN latency_us < 10000 THEN 400 + (latency_us - latency_us % 100) / 100
                     WHEN latency_us < 100000 THEN 500 + (latency_us - latency_us % 1000) / 1000
                     WHEN latency_us < 1000000 THEN 600 + (latency_us - latency_us % 10000) / 10000
                     WHEN latency_us < 10000000 THEN 700 + (latency_us - latency_us % 100000) / 100000
                     WHEN latency_us < 100000000 THEN 800 + (latency_us - latency_us % 1000000) / 1000000
                     WHEN latency_us < 1000000000 THEN 900 + (latency_us - latency_us % 10000000) / 10000000
                     WHEN latency_us < 10000000000 THEN 1000 + (latency_us - latency_us % 100000000) / 100000000
                     ELSE 1100 + (latency_us - latency_us % 1000000000) / 1000000000 END AS INT) AS bucket
    FROM session_events
)
SELECT trading_day, mini_app, action, bucket,
       COUNT(*) AS events,
       COUNT(latency_us) AS timed,
       COALESCE(SUM(latency_us), 0) AS latency_us,
       SUM(error) AS errors,
       SUM(abandoned) AS abandoned,
       SUM(repeated) AS repeats,
       COUNT(payload_bytes) AS sized,
       COALESCE(SUM(payload_bytes), 0) AS payload_bytes
FROM measured
GROUP BY trading_day, mini_app, action, bucket
