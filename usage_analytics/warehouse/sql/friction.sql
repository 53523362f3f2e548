-- Where users wait, meet errors, give up and press again, and how much is fetched for them.
SELECT trading_day, mini_app, action,
       SUM(events) AS events,
       SUM(timed) AS timed,
       SUM(latency_us) AS latency_us,
       SUM(errors) AS errors,
       SUM(abandoned) AS abandoned,
       SUM(repeats) AS repeats,
       SUM(sized) AS sized,
       SUM(payload_bytes) AS payload_bytes
FROM action_waits
GROUP BY trading_day, mini_app, action
