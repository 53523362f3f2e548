-- Which mini-apps the same users used on a day; of a mini-app and itself: how many used it.
WITH used AS (
    SELECT DISTINCT trading_day, user_id, mini_app FROM app_uses
)
SELECT one.trading_day, one.mini_app, another.mini_app AS other, COUNT(*) AS users
FROM used AS one
JOIN used AS another
    ON another.trading_day = one.trading_day AND another.user_id = one.user_id AND another.mini_app >= one.mini_app
GROUP BY one.trading_day, one.mini_app, another.mini_app
