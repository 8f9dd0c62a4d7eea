"""Passes OTLP on to other backends: a queue on disk and a retry loop for each of them.

Nothing here knows who receives or stores: whoever does hands over the bytes of requests.
"""
