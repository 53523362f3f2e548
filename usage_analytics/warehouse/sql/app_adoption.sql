-- Who ever used a mini-app, and of those who have had the time for it, who came back within five trading days.
WITH days AS (
    SELECT trading_day, ROW_NUMBER() OVER (ORDER BY trading_day) AS number
    FROM (SELECT DISTINCT trading_day FROM usage_series) AS d
),
uses AS (
    SELECT p.user_id, p.mini_app, p.trading_day, d.number,
           MIN(d.number) OVER (PARTITION BY p.user_id, p.mini_app) AS first_number
    FROM user_profiles AS p
    JOIN days AS d ON d.trading_day = p.trading_day
),
users AS (
    SELECT user_id, mini_app, first_number, MIN(trading_day) AS first_day,
           MAX(CASE WHEN number > first_number AND number <= first_number + 5 THEN 1 ELSE 0 END) AS came_back
    FROM uses
    GROUP BY user_id, mini_app, first_number
),
newest AS (
    SELECT MAX(number) AS number FROM days
)
SELECT u.mini_app, COUNT(*) AS tried, MIN(u.first_day) AS first_day,
       CAST(SUM(CASE WHEN u.first_number + 5 <= n.number THEN 1 ELSE 0 END) AS BIGINT) AS could_return,
       CAST(SUM(CASE WHEN u.first_number + 5 <= n.number THEN u.came_back ELSE 0 END) AS BIGINT) AS retained
FROM users AS u
CROSS JOIN newest AS n
GROUP BY u.mini_app
