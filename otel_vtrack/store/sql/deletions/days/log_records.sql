-- Drop a day that has no rows left, to free its space.

ALTER TABLE log_records/*@_local ON CLUSTER '{cluster}'*/ DROP PARTITION {day:String}
SETTINGS max_partition_size_to_drop = 0;
