-- Merging took a third of what a server does while it takes in all it can, most of it for tables
-- whose inserts are small: with the engine's settings five of them are merged with all that came
-- before, so that each row is written again ten to twenty times in the first ten million spans.
-- Now ten wait for each other, and the rows of ten such parts are written twice.
--
-- Spans twice as seldom: a base of 30 let twenty parts of 35 thousand rows join what had been made
-- of such before; with 100 they join only each other until there are some fifty parts in a day.

ALTER TABLE spans/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING merge_selector_base = 100;

ALTER TABLE traces/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 10, merge_selector_base = 10;

ALTER TABLE trace_roots/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 10, merge_selector_base = 10;

ALTER TABLE versions/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 10, merge_selector_base = 10;

ALTER TABLE activity_minutes/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 10, merge_selector_base = 10;

ALTER TABLE activity_hours/*@_local ON CLUSTER '{cluster}'*/ MODIFY SETTING min_parts_to_merge_at_once = 10, merge_selector_base = 10;
