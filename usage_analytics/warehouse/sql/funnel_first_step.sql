-- Every event that can take the first step of a funnel has taken it.
SELECT trading_day, funnel, step, within_us, user_id, position, event_time_us, event_time_us AS started_us
FROM funnel_matches
WHERE step = 1
