-- Traces may stand for more than themselves where senders or we keep one of several: counts are
-- kept apart by `adjusted_count`, how many a trace stands for, so that a count is the sum over
-- them of that times the traces. States stay what they were, so nothing counts twice.
--
-- A column of a key has no default: 0, which old rows have, is 1.

ALTER TABLE versions/*@_local ON CLUSTER '{cluster}'*/
    ADD COLUMN IF NOT EXISTS adjusted_count Float32 AFTER deployment_id,
    MODIFY ORDER BY (experiment, service_name, version, environment, deployment_id, adjusted_count);

/*@
ALTER TABLE versions ON CLUSTER '{cluster}' ADD COLUMN IF NOT EXISTS adjusted_count Float32 AFTER deployment_id;
*/
