-- Percentiles of latencies: the middle of the bucket in which the share is reached.
WITH running AS (
    SELECT trading_day, mini_app, action, bucket,
           SUM(events) OVER (PARTITION BY trading_day, mini_app, action ORDER BY bucket ROWS UNBOUNDED PRECEDING) AS so_far,
           SUM(events) OVER (PARTITION BY trading_day, mini_app, action) AS in_all
    FROM latency_histogram
),
reached AS (
    SELECT trading_day, mini_app, action,
           MIN(CASE WHEN 2 * so_far >= in_all THEN bucket END) AS p50,
           MIN(CASE WHEN 10 * so_far >= 9 * in_all THEN bucket END) AS p90,
           MIN(CASE WHEN 100 * so_far >= 99 * in_all THEN bucket END) AS p99
    FROM running
    GROUP BY trading_day, mini_app, action
)
SELECT trading_day, mini_app, action, {p50} AS p50_us, {p90} AS p90_us, {p99} AS p99_us
FROM reached
