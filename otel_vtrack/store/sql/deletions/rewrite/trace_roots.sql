-- Write the parts again in which rows are marked as deleted, in the background, to have their
-- space back: parts of past days may not be merged any more.

ALTER TABLE trace_roots/*@_local ON CLUSTER '{cluster}'*/ APPLY DELETED MASK
SETTINGS mutations_sync = 0;
