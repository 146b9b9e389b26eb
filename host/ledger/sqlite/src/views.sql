-- For whoever reads the books of `schema.sql`. Nothing of Tollgate asks them.
--
-- A file that a server or a command makes has them from the start. One that an instance on the edge makes has not, for
-- every instance reads the whole schema before its first answer. Whoever wants them puts them into it:
-- `sqlite3 FILE <views.sql`.

-- What each key used and spent on each day (UTC), in whole units of the currency.
CREATE VIEW IF NOT EXISTS spend_by_day AS
SELECT
    date(at_ms / 1000, 'unixepoch') AS day,
    key,
    currency,
    count(*) AS exchanges,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    format('%d.%09d', sum(charge_nano) / 1000000000, sum(charge_nano) % 1000000000) AS spend
FROM charges
GROUP BY day, key, currency;

-- What each model used and cost in each month (UTC), in whole units of the currency.
CREATE VIEW IF NOT EXISTS spend_by_model AS
SELECT
    strftime('%Y-%m', at_ms / 1000, 'unixepoch') AS month,
    model,
    currency,
    count(*) AS exchanges,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    format('%d.%09d', sum(charge_nano) / 1000000000, sum(charge_nano) % 1000000000) AS spend
FROM charges
GROUP BY month, model, currency;

-- The exchanges that are open, and the most that each can cost.
CREATE VIEW IF NOT EXISTS open_holds AS
SELECT
    request_id,
    entry ->> 'key' AS key,
    entry ->> 'model' AS model,
    strftime('%Y-%m-%dT%H:%M:%fZ', (entry ->> 'at_ms') / 1000.0, 'unixepoch') AS at,
    strftime('%Y-%m-%dT%H:%M:%fZ', until_ms / 1000.0, 'unixepoch') AS until,
    format('%d.%09d', (entry ->> 'charge') / 1000000000, (entry ->> 'charge') % 1000000000) AS charge,
    entry ->> 'currency' AS currency
FROM holds;
