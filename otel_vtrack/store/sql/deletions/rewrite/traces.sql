-- Rewrite, in the background, the parts that have rows marked as deleted, to free their space:
-- parts of past days may never be merged again.

ALTER TABLE traces/*@_local ON CLUSTER '{cluster}'*/ APPLY DELETED MASK
SETTINGS mutations_sync = 0;
