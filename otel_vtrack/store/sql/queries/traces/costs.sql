-- Return the cost of traces, one row each; NULL if it is unknown or nothing was reported.
--
-- `names` and `steps` are JSON: the models that have a price, each as model, NUL and provider, and
-- the steps of each price as in query.prices; the last step that holds applies. A span with neither
-- cost nor model is replaced by those below it (query.tokens has the rules). So is one whose inner
-- spans report just as many tokens, unless it has a price and they have none.
--
-- Not run by itself: query.filter inserts it into searches by cost.

SELECT
    trace_id,
    experiment,
    if(empty(own) OR isNaN(sum), NULL, sum) AS cost,
    arraySum(arrayFilter((dollars, counts, up) -> counts AND NOT up.2, own, counted, covered)) AS sum
FROM
(
    SELECT trace_id, experiment, own, counted, arrayFold(
        (at, stride) -> arrayMap(x -> (at[x.1].1, x.2 OR at[x.1].2), at),
        range(strides),
        arrayMap(c -> (c.above, counted[c.above]), charges)) AS covered
    FROM
    (
        SELECT *, arrayMap(
            (stop, alone, hit, nth) -> alone OR (stop AND hit = (toUInt64(nth), false)),
            stops,
            firm,
            arrayFilter((hit, each) -> each.2, arrayPopBack(arrayPushFront(hits, (toUInt64(0), true))), hits),
            arrayEnumerate(stops)) AS counted
        FROM
        (
            SELECT *, arraySort(arrayConcat(
                arrayMap(nth -> (toUInt64(nth), true), arrayEnumerate(stops)),
                arrayMap(up -> (up.2, false), arrayFilter(
                    (up, alone, cost) -> up.2 != 0 AND alone AND isNaN(cost), stopped, firm, own)))) AS hits
            FROM
            (
                -- The first ancestor at which the walk up stops.
                SELECT *, arrayFold(
                    (at, stride) -> arrayMap(x -> if(x.1 = 0, x, at[x.1]), at),
                    range(strides),
                    arrayMap(
                        c -> if(stops[c.above], (toUInt64(0), c.above), (c.above, toUInt64(0))),
                        charges)) AS stopped
                FROM
                (
                    SELECT
                        *,
                        if(arrayExists(c -> c.above != 0, charges), toUInt8(ceil(log2(length(charges) + 1))) + 1, 0) AS strides,
                        -- Counts itself, whatever is below it.
                        arrayMap(c -> NOT (c.has_inner AND isNaN(c.told) AND c.model = '') AND NOT (c.same AND NOT c.tells), charges) AS firm,
                        arrayMap((alone, c, cost) -> alone OR (NOT isNaN(cost) AND c.same), firm, charges, own) AS stops
                    FROM
                    (
                        SELECT trace_id, experiment, charges, arrayMap(
                            (c, taken, steps) -> multiIf(
                                NOT isNaN(c.told), c.told,
                                empty(steps), nan,
                                -- A total alone does not determine the cost.
                                c.total_tokens != 0 AND c.input_tokens = 0 AND c.output_tokens = 0, nan,
                                arrayMap(
                                    rate -> (
                                        (taken - c.cache_read - c.cache_creation) * rate.5 + c.cache_read * rate.7
                                        + c.cache_creation * rate.8) / 1000000 + c.output_tokens * rate.6 / 1000000,
                                    [arrayLast(
                                        step -> greatest(at_ns, 0) >= step.1
                                            AND greatest(at_ns, 0) % 86400000000000 >= step.2
                                            AND greatest(at_ns, 0) % 86400000000000 < step.3
                                            AND toInt64(taken) > step.4,
                                        steps)])[1]),
                            charges,
                            -- Some instrumentation reports cached tokens in addition to the input.
                            arrayMap(
                                c -> c.input_tokens
                                    + if(c.cache_read + c.cache_creation > c.input_tokens, c.cache_read + c.cache_creation, 0),
                                charges),
                            arrayMap(
                                c -> JSONExtract({steps:String}, 'Array(Array(Tuple(Int64, Int64, Int64, Int64, Float64, Float64, Float64, Float64)))')[
                                    transform(
                                        concat(c.model, '\0', c.provider),
                                        JSONExtract({names:String}, 'Array(String)'),
                                        range(1, 1 + length(JSONExtract({names:String}, 'Array(String)'))),
                                        0)],
                                charges)) AS own
                        FROM trace_charges AS p
                        WHERE /*?wanted*/ 1 /*wanted?*/
                    )
                )
            )
        )
    )
);
