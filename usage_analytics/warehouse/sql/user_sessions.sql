-- One row is one user session: a run of one user's events within a trading day without a gap of 30 minutes.
SELECT trading_day, user_id, session_number,
       MIN(client_firm) AS client_firm,
       MIN(started_us) AS started_us,
       MAX(ended_us) AS ended_us,
       SUM(events) AS events,
       COUNT(*) AS mini_apps,
       MAX(CASE WHEN is_first = 1 THEN mini_app END) AS first_mini_app,
       MAX(CASE WHEN is_last = 1 THEN mini_app END) AS last_mini_app,
       SUM(errors) AS errors
FROM app_uses
GROUP BY trading_day, user_id, session_number
