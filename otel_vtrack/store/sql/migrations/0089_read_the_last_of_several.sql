-- A field that a message has more than once is what it is last (protobuf's encoding guide, "Last
-- One Wins"). The engine reads it so into every type but String, into which it then reads nothing.
--
-- Fields of this length, and texts of which there are few, are read as fast as before.

ALTER TABLE otlp_traces_inbox /*@ON CLUSTER '{cluster}'*/
    MODIFY COLUMN `scope_spans.spans.trace_id` Array(Array(FixedString(16))),
    MODIFY COLUMN `scope_spans.spans.span_id` Array(Array(FixedString(8))),
    MODIFY COLUMN `scope_spans.spans.trace_state` Array(Array(LowCardinality(String))),
    MODIFY COLUMN `scope_spans.spans.parent_span_id` Array(Array(FixedString(8))),
    MODIFY COLUMN `scope_spans.spans.status` Array(Array(Tuple(message LowCardinality(String), code Int32)));
