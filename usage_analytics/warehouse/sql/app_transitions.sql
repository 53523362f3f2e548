-- How often each mini-app followed the up to three before it in a user session. `fold` keeps users apart, so that a model
-- can be judged by users it has not seen.
SELECT trading_day, fold, prev3, prev2, prev1, mini_app AS next,
       COUNT(*) AS transitions,
       COALESCE(SUM(dwell_before_us), 0) AS dwell_us,
       COUNT(latency_us) AS timed,
       COALESCE(SUM(latency_us), 0) AS latency_us
FROM session_events
GROUP BY trading_day, fold, prev3, prev2, prev1, mini_app
