"""Finds passages that may answer a question, now with a reranker."""

import random
import time

from opentelemetry import trace

tracer = trace.get_tracer("assistant.retrieval")

PASSAGES = {
    "refund": "Refunds arrive within five days.",
    "invoice": "Invoices are under Billing.",
    "password": "Reset it from the sign-in page.",
}


def search(word: str) -> str | None:
    """Look one word up."""
    with tracer.start_as_current_span("execute_tool search") as span:
        span.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"})
        time.sleep(random.uniform(0.003, 0.008))
        return PASSAGES.get(word)


def rerank(passages: list[str]) -> list[str]:
    """Put the best first, using a new service that is not always up."""
    with tracer.start_as_current_span("rerank"):
        time.sleep(random.uniform(0.002, 0.006))
        if random.random() < 0.07:
            raise ConnectionError("the reranker refused the connection")
        return sorted(passages, key=len, reverse=True)


def find_passages(words: list[str]) -> list[str]:
    """Look up the last words one by one, then rank the passages found."""
    found = [passage for word in words[-2:] if (passage := search(word))]
    return rerank(found)
