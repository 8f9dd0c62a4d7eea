-- Which model did a span ask, and what is known of the price? '' and NULL: not told.
--
-- `cost` is as it was told: a JSON object with MLflow's keys, or the dollars as a number.

ALTER TABLE spans/*@_local ON CLUSTER '{cluster}'*/
    ADD COLUMN IF NOT EXISTS model LowCardinality(String),
    ADD COLUMN IF NOT EXISTS provider LowCardinality(String),
    ADD COLUMN IF NOT EXISTS cache_read_input_tokens Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS cache_creation_input_tokens Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS cost String CODEC(ZSTD(1));

/*@
ALTER TABLE spans ON CLUSTER '{cluster}'
    ADD COLUMN IF NOT EXISTS model LowCardinality(String),
    ADD COLUMN IF NOT EXISTS provider LowCardinality(String),
    ADD COLUMN IF NOT EXISTS cache_read_input_tokens Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS cache_creation_input_tokens Nullable(UInt64),
    ADD COLUMN IF NOT EXISTS cost String;
*/

-- The same of each span that reports usage or cost, by its short id, beside `usage`.

ALTER TABLE traces/*@_local ON CLUSTER '{cluster}'*/
    ADD COLUMN IF NOT EXISTS billing SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(
        span UInt32,
        model String,
        provider String,
        cache_read_input_tokens UInt64,
        cache_creation_input_tokens UInt64,
        cost String))) CODEC(ZSTD(1));

/*@
ALTER TABLE traces ON CLUSTER '{cluster}'
    ADD COLUMN IF NOT EXISTS billing SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(
        span UInt32,
        model String,
        provider String,
        cache_read_input_tokens UInt64,
        cache_creation_input_tokens UInt64,
        cost String)));
*/
