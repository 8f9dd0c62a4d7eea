-- What a deletion that was broken off goes by, when it goes on: however long after, as nobody knows when
-- a server is started again. A day, as before, would end it half way. Those that nobody needs any more
-- are few.

ALTER TABLE doomed_traces/*@_local ON CLUSTER '{cluster}'*/ MODIFY TTL doomed_at + INTERVAL 1 YEAR;
