"""OTLP bytes: what arrives and what leaves, never what it means."""
