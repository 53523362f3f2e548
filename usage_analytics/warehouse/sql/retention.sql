-- Of those who first used a mini-app on a trading day, how many used it again so many trading days later.
WITH days AS (
    SELECT trading_day, ROW_NUMBER() OVER (ORDER BY trading_day) AS number
    FROM (SELECT DISTINCT trading_day FROM usage_series) AS d
),
uses AS (
    SELECT p.mini_app, d.number,
           MIN(d.number) OVER (PARTITION BY p.user_id, p.mini_app) AS first_number,
           MIN(p.trading_day) OVER (PARTITION BY p.user_id, p.mini_app) AS cohort_day
    FROM user_profiles AS p
    JOIN days AS d ON d.trading_day = p.trading_day
)
SELECT mini_app, cohort_day, number - first_number AS age, COUNT(*) AS users
FROM uses
GROUP BY mini_app, cohort_day, number - first_number
