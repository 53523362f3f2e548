-- Events that take a step of a funnel: those that can, after an event that took the step before, in time. Of all the
-- beginnings from which a user got there, the latest leaves the most time for what follows.
WITH both_steps AS (
    SELECT trading_day, funnel, within_us, user_id, position, event_time_us, started_us, 0 AS follows
    FROM funnel_reached
    WHERE step = :step - 1
    UNION ALL
    SELECT trading_day, funnel, within_us, user_id, position, event_time_us, NULL AS started_us, 1 AS follows
    FROM funnel_matches
    WHERE step = :step
),
latest AS (
    SELECT trading_day, funnel, within_us, user_id, position, event_time_us, follows,
           -- An event that could take both steps does not follow itself.
           MAX(started_us) OVER (
               PARTITION BY trading_day, funnel, user_id ORDER BY position, follows DESC
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ) AS started_us
    FROM both_steps
)
SELECT trading_day, funnel, :step AS step, within_us, user_id, position, event_time_us, started_us
FROM latest
WHERE follows = 1 AND event_time_us - started_us <= within_us
