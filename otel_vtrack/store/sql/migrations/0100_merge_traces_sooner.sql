-- A trace is looked for in every part of `traces`, and each takes a tenth of a millisecond. With ten that
-- wait for each other, 10 million spans left twelve parts, and eight of a day into which few inserts came
-- were never merged while the day lasted; with five there are some eight and two, for two fifths more
-- rows merged. Where a server takes in all it can, merges wait anyway, see store.merging.

ALTER TABLE traces/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 5, merge_selector_base = 5;

ALTER TABLE trace_roots/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 5, merge_selector_base = 5;
