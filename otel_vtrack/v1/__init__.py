"""Generated from proto/otel_vtrack/v1 by `make proto`; never edited."""
