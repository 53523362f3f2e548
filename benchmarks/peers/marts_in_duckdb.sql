-- All marts of one trading day, as somebody who knows DuckDB writes them for DuckDB alone. Texts that repeat become
-- enums, so that they sort and group as small numbers; marts are made from each other where they can be.
CREATE TEMP VIEW of_day AS
FROM read_parquet(getvariable('files'), hive_partitioning = false) WHERE trading_day = getvariable('day');

CREATE TYPE users AS ENUM (SELECT DISTINCT user_id FROM of_day);

CREATE TYPE topics AS ENUM (SELECT DISTINCT topic FROM of_day ORDER BY topic);

CREATE TYPE apps AS ENUM (SELECT DISTINCT mini_app FROM of_day ORDER BY mini_app);

CREATE TYPE actions AS ENUM (SELECT DISTINCT action FROM of_day WHERE action IS NOT NULL);

CREATE TYPE screens AS ENUM (SELECT DISTINCT screen FROM of_day WHERE screen IS NOT NULL);

CREATE TYPE firms AS ENUM (SELECT DISTINCT client_firm FROM of_day WHERE client_firm IS NOT NULL ORDER BY client_firm);

-- Of events that repeat another, all but the first on Kafka. Grouping by a hash alone is cheaper than by both texts:
-- where two hashes are the same by chance, the exact comparison finds out.
CREATE TEMP TABLE dropped AS
WITH doubled AS MATERIALIZED (
    SELECT hash(user_id, event_id) AS hashed FROM of_day GROUP BY hashed HAVING count(*) > 1
)
SELECT topic, kafka_partition, kafka_offset FROM of_day WHERE hash(user_id, event_id) IN (FROM doubled)
QUALIFY row_number() OVER (PARTITION BY user_id, event_id ORDER BY topic, kafka_partition, kafka_offset) > 1;

CREATE TEMP TABLE events AS
WITH single AS (
    SELECT user_id::users AS user_id, mini_app::apps AS mini_app, action::actions AS action, screen::screens AS screen,
           client_firm::firms AS client_firm, event_time_us, topic::topics AS topic, kafka_partition, kafka_offset,
           CASE WHEN latency_ms BETWEEN 0 AND 1800000 THEN floor(latency_ms * 1000)::BIGINT END AS latency_us,
           CASE WHEN payload_bytes BETWEEN 0 AND 1073741824 THEN floor(payload_bytes)::BIGINT END AS payload_bytes
    FROM of_day ANTI JOIN dropped USING (topic, kafka_partition, kafka_offset)
),
beside AS (
    SELECT user_id, mini_app, action, client_firm, event_time_us, latency_us, payload_bytes,
           row_number() OVER w AS position,
           event_time_us - lag(event_time_us, 1) OVER w AS gap_1,
           event_time_us - lag(event_time_us, 2) OVER w AS gap_2,
           event_time_us - lag(event_time_us, 3) OVER w AS gap_3,
           lead(event_time_us) OVER w - event_time_us AS gap_after,
           lag(mini_app, 1) OVER w AS app_1,
           lag(mini_app, 2) OVER w AS app_2,
           lag(mini_app, 3) OVER w AS app_3,
           lead(mini_app) OVER w AS app_after,
           lag(action) OVER w IS NOT DISTINCT FROM action AND lag(screen) OVER w IS NOT DISTINCT FROM screen AS same
    FROM single
    WINDOW w AS (PARTITION BY user_id ORDER BY event_time_us, topic, kafka_partition, kafka_offset)
),
related AS (
    SELECT *,
           coalesce(gap_1 < 1800000000, false) AS goes_on,
           goes_on AND coalesce(gap_2 - gap_1 < 1800000000, false) AS goes_on_2,
           goes_on_2 AND coalesce(gap_3 - gap_2 < 1800000000, false) AS goes_on_3,
           CASE WHEN goes_on THEN app_1 END AS prev1,
           CASE WHEN goes_on_2 THEN app_2 END AS prev2,
           CASE WHEN goes_on_3 THEN app_3 END AS prev3
    FROM beside
)
SELECT user_id, mini_app, action, client_firm, event_time_us, latency_us, payload_bytes, position, prev1, prev2, prev3,
       CASE WHEN goes_on THEN gap_1 END AS dwell_before_us,
       CASE WHEN gap_after < 1800000000 THEN gap_after END AS dwell_us,
       coalesce(action = 'error', false) AS error,
       coalesce(dwell_us IS NOT NULL AND app_after <> mini_app AND gap_after < latency_us, false) AS abandoned,
       coalesce(gap_1 < 5000000 AND app_1 = mini_app AND same, false) AS repeated,
       coalesce(prev1 <> mini_app, true) AS visit,
       sum((NOT goes_on)::INT) OVER (PARTITION BY user_id ORDER BY position ROWS UNBOUNDED PRECEDING)::INT
           AS session_number
FROM related;

CREATE TEMP TABLE uses AS  -- of mini-apps in user sessions
SELECT user_id, session_number, mini_app,
       min(client_firm) AS client_firm, min(event_time_us) AS started_us, max(event_time_us) AS ended_us,
       min(position) AS first_position, max(position) AS last_position,
       count(*) AS events, count_if(visit) AS visits, coalesce(sum(dwell_us), 0)::BIGINT AS dwell_us,
       count_if(error) AS errors
FROM events GROUP BY ALL;

CREATE TEMP TABLE user_sessions AS
SELECT user_id, session_number, min(client_firm) AS client_firm, min(started_us) AS started_us,
       max(ended_us) AS ended_us, sum(events)::BIGINT AS events, count(*) AS mini_apps,
       arg_min(mini_app, first_position) AS first_mini_app, arg_max(mini_app, last_position) AS last_mini_app,
       sum(errors)::BIGINT AS errors
FROM uses GROUP BY ALL;

CREATE TEMP TABLE app_transitions AS
SELECT ('0x' || (user_id::VARCHAR)[1:2])::INT % 5 AS fold, prev3, prev2, prev1, mini_app AS next, count(*) AS transitions,
       coalesce(sum(dwell_before_us), 0)::BIGINT AS dwell_us, count(latency_us) AS timed,
       coalesce(sum(latency_us), 0)::BIGINT AS latency_us
FROM events GROUP BY ALL;

CREATE TEMP TABLE user_profiles AS
SELECT user_id, mini_app, sum(events)::BIGINT AS events, sum(visits)::BIGINT AS visits, count(*) AS user_sessions,
       sum(dwell_us)::BIGINT AS dwell_us, sum(errors)::BIGINT AS errors
FROM uses GROUP BY ALL;

CREATE TEMP TABLE usage_series AS
WITH of_users AS (
    SELECT event_time_us // 60000000 AS minute, mini_app, user_id, count(*) AS events, count_if(error) AS errors
    FROM events GROUP BY ALL
)
SELECT minute * 60000000 AS minute_us, mini_app, sum(events)::BIGINT AS events, count(*) AS users, sum(errors)::BIGINT AS errors
FROM of_users GROUP BY ALL;

CREATE TEMP TABLE co_use AS
SELECT one.mini_app, another.mini_app AS other, count(*) AS users
FROM user_profiles AS one JOIN user_profiles AS another
    ON another.user_id = one.user_id AND another.mini_app >= one.mini_app
GROUP BY ALL;

CREATE TEMP TABLE paths AS
WITH openings AS (
    SELECT arg_min(mini_app, position, 5) AS steps FROM events WHERE visit GROUP BY user_id, session_number
)
SELECT steps[1] AS step_1, steps[2] AS step_2, steps[3] AS step_3, steps[4] AS step_4, steps[5] AS step_5,
       count(*) AS user_sessions
FROM openings GROUP BY steps;

CREATE TEMP TABLE waits AS  -- friction with latencies apart by bucket
SELECT mini_app, action,
       CASE WHEN latency_us < 10 THEN 100 + latency_us
            ELSE 100 * (1 + floor(log10(latency_us)))::INT + latency_us // (10 ** (floor(log10(latency_us)) - 1))::BIGINT
       END::INT AS bucket,
       count(*) AS events, count(latency_us) AS timed, coalesce(sum(latency_us), 0)::BIGINT AS latency_us,
       count_if(error) AS errors, count_if(abandoned) AS abandoned, count_if(repeated) AS repeats,
       count(payload_bytes) AS sized, coalesce(sum(payload_bytes), 0)::BIGINT AS payload_bytes
FROM events GROUP BY ALL;

CREATE TEMP TABLE friction AS
SELECT mini_app, action, sum(events)::BIGINT AS events, sum(timed)::BIGINT AS timed, sum(latency_us)::BIGINT AS latency_us,
       sum(errors)::BIGINT AS errors, sum(abandoned)::BIGINT AS abandoned, sum(repeats)::BIGINT AS repeats,
       sum(sized)::BIGINT AS sized, sum(payload_bytes)::BIGINT AS payload_bytes
FROM waits GROUP BY ALL;

CREATE TEMP TABLE latency_histogram AS
SELECT mini_app, action, bucket, events FROM waits WHERE bucket IS NOT NULL;

CREATE TEMP TABLE funnels AS
WITH first AS (
    SELECT user_id, position, event_time_us, mini_app,
           CASE WHEN mini_app = getvariable('step_1') THEN event_time_us END AS from_1
    FROM events
    WHERE mini_app::VARCHAR IN (getvariable('step_1'), getvariable('step_2'), getvariable('step_3'))
),
second AS (
    SELECT *, max(from_1) OVER w AS start_2,
           CASE WHEN mini_app = getvariable('step_2') AND event_time_us - start_2 <= getvariable('within_us')
                THEN start_2 END AS from_2
    FROM first
    WINDOW w AS (PARTITION BY user_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
third AS (
    SELECT *, max(from_2) OVER w AS start_3,
           CASE WHEN mini_app = getvariable('step_3') AND event_time_us - start_3 <= getvariable('within_us')
                THEN start_3 END AS from_3
    FROM second
    WINDOW w AS (PARTITION BY user_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
of_users AS (
    SELECT arg_min(event_time_us - from_1, position) FILTER (from_1 IS NOT NULL) AS took_1,
           arg_min(event_time_us - from_2, position) FILTER (from_2 IS NOT NULL) AS took_2,
           arg_min(event_time_us - from_3, position) FILTER (from_3 IS NOT NULL) AS took_3
    FROM third GROUP BY user_id
)
SELECT getvariable('funnel') AS funnel, step, users, coalesce(took_us, 0)::BIGINT AS took_us
FROM (
    SELECT 1 AS step, count(took_1) AS users, sum(took_1) AS took_us FROM of_users
    UNION ALL SELECT 2, count(took_2), sum(took_2) FROM of_users
    UNION ALL SELECT 3, count(took_3), sum(took_3) FROM of_users
);
