-- Which session events can take one step of a funnel.
SELECT e.trading_day, f.funnel, f.step, f.within_us, e.user_id, e.position, e.event_time_us
FROM session_events AS e
CROSS JOIN funnel_steps AS f
WHERE f.funnel = :funnel AND f.step = :step AND {is_taken}
