-- How much of each mini-app was used in each minute of event time; by user first, so that users are counted by adding.
WITH by_user AS (
    SELECT trading_day, event_time_us - event_time_us % 60000000 AS minute_us, mini_app, user_id,
           COUNT(*) AS events, SUM(error) AS errors
    FROM session_events
    GROUP BY trading_day, event_time_us - event_time_us % 60000000, mini_app, user_id
)
SELECT trading_day, minute_us, mini_app, SUM(events) AS events, COUNT(*) AS users, SUM(errors) AS errors
FROM by_user
GROUP BY trading_day, minute_us, mini_app
