-- Delete the list of a finished deletion.

DELETE FROM doomed_traces/*@_local ON CLUSTER '{cluster}'*/
WHERE deletion_id = {deletion_id:UUID};
