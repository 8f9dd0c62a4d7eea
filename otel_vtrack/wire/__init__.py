"""Decodes, checks and encodes OTLP, without interpreting its content."""
