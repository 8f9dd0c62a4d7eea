"""Which traces are stored: by trace id, whole, and each with how many it stands for.

Knows neither journal nor tables: it is handed requests, and hands back what is to be stored of
them. docs/sampling.md says what it decides and why the numbers stay right.
"""
