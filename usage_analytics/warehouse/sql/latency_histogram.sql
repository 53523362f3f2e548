-- Latencies by their length and first two digits: buckets that add up, from which percentiles are read.
SELECT trading_day, mini_app, action, bucket, events
FROM action_waits
WHERE timed > 0
