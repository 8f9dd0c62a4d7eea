-- A day of which nothing is left, to have its space back.

ALTER TABLE spans/*@_local ON CLUSTER '{cluster}'*/ DROP PARTITION {day:String}
SETTINGS max_partition_size_to_drop = 0;
