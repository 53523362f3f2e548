-- How many users got to each step of each funnel, and how long they took to it.
WITH arrivals AS (
    SELECT funnel, step, event_time_us - started_us AS took_us,
           ROW_NUMBER() OVER (PARTITION BY funnel, step, user_id ORDER BY position) AS arrival
    FROM funnel_reached
),
got_there AS (
    SELECT funnel, step, COUNT(*) AS users, SUM(took_us) AS took_us FROM arrivals WHERE arrival = 1
    GROUP BY funnel, step
),
days AS (
    SELECT DISTINCT trading_day FROM session_events
)
SELECT d.trading_day, f.funnel, f.step, COALESCE(g.users, 0) AS users, COALESCE(g.took_us, 0) AS took_us
FROM funnel_steps AS f
CROSS JOIN days AS d
LEFT JOIN got_there AS g ON g.funnel = f.funnel AND g.step = f.step
