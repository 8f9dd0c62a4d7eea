-- Count what would be deleted with an experiment.

SELECT
    (SELECT uniqExact(t.trace_id) FROM traces AS t WHERE t.experiment = {experiment:String}) AS trace_count,
    (SELECT count() FROM spans AS s FINAL WHERE s.experiment = {experiment:String}) AS span_count,
    (SELECT count() FROM log_records AS l FINAL WHERE l.experiment = {experiment:String}) AS log_record_count,
    (SELECT uniqExact(v.service_name, v.version) FROM versions AS v WHERE v.experiment = {experiment:String}) AS version_count,
    (SELECT countIf(d.declared) FROM deployments AS d WHERE d.experiment = {experiment:String}) AS deployment_count;
