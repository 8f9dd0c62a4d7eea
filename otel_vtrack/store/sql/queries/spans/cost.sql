-- Return the cost of spans, each by its own report; NULL if it is unknown or nothing was reported.
--
-- A reported cost stands; otherwise the tokens are priced by the model, as in traces/costs for
-- whole traces, which explains `names` and `steps`. Spans below a span do not matter.
--
-- Not run by itself: query.filter extracts the expression.

SELECT
    s.trace_id,
    s.span_id,
    /*?cost*/
    arrayMap(
        (told, total, used, steps, at_ns) -> multiIf(
            -- A number, or an object of numbers.
            NOT isNaN(total), total,
            NOT isNaN(told[3]), told[3],
            NOT isNaN(told[1]) AND NOT isNaN(told[2]), told[1] + told[2],
            NOT isNaN(told[1]), told[1],
            NOT isNaN(told[2]), told[2],
            empty(steps) OR (s.input_tokens IS NULL AND s.output_tokens IS NULL AND s.total_tokens IS NULL), NULL,
            -- A total alone does not determine the cost.
            ifNull(s.total_tokens, 0) != 0 AND ifNull(s.input_tokens, 0) = 0 AND ifNull(s.output_tokens, 0) = 0, NULL,
            arrayMap(
                rate -> (
                    (used.1 - used.3 - used.4) * rate.5 + used.3 * rate.7
                    + used.4 * rate.8) / 1000000 + used.2 * rate.6 / 1000000,
                [arrayLast(
                    step -> at_ns >= step.1
                        AND at_ns % 86400000000000 >= step.2
                        AND at_ns % 86400000000000 < step.3
                        AND toInt64(used.1) > step.4,
                    steps)])[1]),
        [if(s.cost = '', [nan, nan, nan], arrayMap(
            key -> if(
                JSONType(s.cost, key) IN ('Int64', 'UInt64', 'Double') AND JSONExtractFloat(s.cost, key) >= 0,
                JSONExtractFloat(s.cost, key),
                nan),
            ['input_cost', 'output_cost', 'total_cost']))],
        [if(s.cost != '' AND JSONType(s.cost) IN ('Int64', 'UInt64', 'Double') AND JSONExtractFloat(s.cost) >= 0, JSONExtractFloat(s.cost), nan)],
        -- Some instrumentation reports cached tokens in addition to the input.
        arrayMap(
            c -> (c.1 + if(c.3 + c.4 > c.1, c.3 + c.4, 0), c.2, c.3, c.4),
            [(ifNull(s.input_tokens, 0), ifNull(s.output_tokens, 0), ifNull(s.cache_read_input_tokens, 0), ifNull(s.cache_creation_input_tokens, 0))]),
        [JSONExtract({steps:String}, 'Array(Array(Tuple(Int64, Int64, Int64, Int64, Float64, Float64, Float64, Float64)))')[
            transform(
                concat(toString(s.model), '\0', toString(s.provider)),
                JSONExtract({names:String}, 'Array(String)'),
                range(1, 1 + length(JSONExtract({names:String}, 'Array(String)'))),
                0)]],
        [greatest(toUnixTimestamp64Nano(s.start_time), 0)])[1]
    /*cost?*/ AS cost
FROM spans AS s;
