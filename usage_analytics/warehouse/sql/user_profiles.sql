-- How much of each mini-app a user used.
SELECT trading_day, user_id, mini_app,
       SUM(events) AS events,
       SUM(visits) AS visits,
       COUNT(*) AS user_sessions,
       SUM(dwell_us) AS dwell_us,
       SUM(errors) AS errors
FROM app_uses
GROUP BY trading_day, user_id, mini_app
