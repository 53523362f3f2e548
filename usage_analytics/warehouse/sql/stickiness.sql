-- How many of those who used a mini-app on any of twenty trading days used it on the last of them.
WITH days AS (
    SELECT trading_day, ROW_NUMBER() OVER (ORDER BY trading_day) AS number
    FROM (SELECT DISTINCT trading_day FROM usage_series) AS d
),
uses AS (
    SELECT p.user_id, p.mini_app, d.number
    FROM user_profiles AS p
    JOIN days AS d ON d.trading_day = p.trading_day
)
SELECT d.trading_day, u.mini_app,
       COUNT(DISTINCT CASE WHEN u.number = d.number THEN u.user_id END) AS users,
       COUNT(DISTINCT u.user_id) AS users_of_20_days
FROM days AS d
JOIN uses AS u ON u.number > d.number - 20 AND u.number <= d.number
GROUP BY d.trading_day, u.mini_app
HAVING COUNT(DISTINCT CASE WHEN u.number = d.number THEN u.user_id END) > 0
