-- A trace is looked for in every part of `traces`, of all days, and each takes a tenth of a
-- millisecond. Of a day into which nothing came for an hour all parts become one, once: a day of
-- 1.25 million traces has some ten, and to merge them takes some twelve seconds that nobody waits for.

ALTER TABLE traces/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;
