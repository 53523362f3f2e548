-- Sufficient statistics of what follows what, additive over trading days. `prev1` is the mini-app just before `next`;
-- null stands before the start of the user session. `fold` keeps users apart for held-out evaluation.
WITH {session_events},
contexts AS (
    SELECT trading_day, {fold} AS fold, mini_app AS next,
           lag(mini_app, 1) OVER in_order AS prev1,
           lag(mini_app, 2) OVER in_order AS prev2,
           lag(mini_app, 3) OVER in_order AS prev3,
           event_time_us - lag(event_time_us, 1) OVER in_order AS dwell_us
    FROM session_events
    WINDOW in_order AS (
        PARTITION BY trading_day, user_id, session_number
        ORDER BY event_time_us, topic, kafka_partition, kafka_offset
    )
)
SELECT trading_day, fold, prev3, prev2, prev1, next,
       count(*) AS transitions, coalesce(CAST(sum(dwell_us) AS BIGINT), 0) AS dwell_us
FROM contexts
GROUP BY trading_day, fold, prev3, prev2, prev1, next
