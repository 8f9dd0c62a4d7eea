"""Finds passages that may answer a question."""

import random
import time

from opentelemetry import trace

tracer = trace.get_tracer("assistant.retrieval")

PASSAGES = {
    "refund": "Refunds arrive within five days.",
    "invoice": "Invoices are under Billing.",
    "password": "Reset it from the sign-in page.",
}


def find_passages(words: list[str]) -> list[str]:
    """Look up all words in one search."""
    with tracer.start_as_current_span("execute_tool search") as span:
        span.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"})
        time.sleep(random.uniform(0.003, 0.008))
        if random.random() < 0.01:
            raise TimeoutError("the index did not answer")
        return [PASSAGES[word] for word in words if word in PASSAGES]
