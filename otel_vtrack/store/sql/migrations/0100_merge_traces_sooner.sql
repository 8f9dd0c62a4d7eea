-- A trace is looked up in every part of `traces`, at a tenth of a millisecond each, and comparisons read
-- all parts of the days they cover. With ten parts that wait for each other, 10 million spans left twelve,
-- and of a day with fewer than ten inserts none was merged while the day lasted: to compare two versions
-- over a month of such days took 2.3 times the processor time that it takes of merged ones. Now five wait
-- for each other. A server under full load puts merges off either way, see store.merging.

ALTER TABLE traces/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 5, merge_selector_base = 5;

ALTER TABLE trace_roots/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING
    min_parts_to_merge_at_once = 5, merge_selector_base = 5,
    -- As migration 0095 says of `traces`; here it takes a second for 10 million spans.
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;
