-- How user sessions begin: the mini-apps of their first five visits.
WITH openings AS (
    SELECT trading_day, user_id, session_number, mini_app,
           ROW_NUMBER() OVER (PARTITION BY trading_day, user_id, session_number ORDER BY position) AS step
    FROM session_events
    WHERE opens = 1
),
openings_of_sessions AS (
    SELECT trading_day, user_id, session_number,
           MAX(CASE WHEN step = 1 THEN mini_app END) AS step_1,
           MAX(CASE WHEN step = 2 THEN mini_app END) AS step_2,
           MAX(CASE WHEN step = 3 THEN mini_app END) AS step_3,
           MAX(CASE WHEN step = 4 THEN mini_app END) AS step_4,
           MAX(CASE WHEN step = 5 THEN mini_app END) AS step_5
    FROM openings
    WHERE step <= 5
    GROUP BY trading_day, user_id, session_number
)
SELECT trading_day, step_1, step_2, step_3, step_4, step_5, COUNT(*) AS user_sessions
FROM openings_of_sessions
GROUP BY trading_day, step_1, step_2, step_3, step_4, step_5
