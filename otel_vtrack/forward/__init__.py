"""Forwards OTLP to other backends, with a disk queue and a retry loop for each.

Independent of receiving and storing: callers pass in serialized requests.
"""
