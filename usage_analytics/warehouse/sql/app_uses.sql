-- What a user session used of each mini-app: less than its events by far, and enough for all that is told of users.
SELECT trading_day, user_id, session_number, mini_app,
       MIN(client_firm) AS client_firm,
       MIN(event_time_us) AS started_us,
       MAX(event_time_us) AS ended_us,
       MAX(CASE WHEN prev1 IS NULL THEN 1 ELSE 0 END) AS is_first,
       MAX(CASE WHEN dwell_us IS NULL THEN 1 ELSE 0 END) AS is_last,
       COUNT(*) AS events,
       SUM(opens) AS visits,
       COALESCE(SUM(dwell_us), 0) AS dwell_us,
       SUM(error) AS errors
FROM session_events
GROUP BY trading_day, user_id, session_number, mini_app
