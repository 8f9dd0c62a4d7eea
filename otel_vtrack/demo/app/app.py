"""A small assistant that answers questions over HTTP; it knows nothing of version tracking.

POST /chat?question=...&session=...
"""

import contextlib
import random
import socket
import time

import fastapi
import uvicorn
from opentelemetry import trace
from retrieval import find_passages

app = fastapi.FastAPI()
tracer = trace.get_tracer("assistant")


def plan(question: str) -> list[str]:
    """Split a question into words to look up."""
    with tracer.start_as_current_span("plan"):
        time.sleep(random.uniform(0.001, 0.003))
        return question.lower().rstrip("?").split()


def complete(question: str, passages: list[str]) -> str:
    """Stand in for a language model: take some time and report token usage."""
    with tracer.start_as_current_span("chat demo-model", kind=trace.SpanKind.CLIENT) as span:
        answer = f"{question} {passages[0] if passages else 'Nobody knows.'}"
        time.sleep(random.lognormvariate(-4.6, 0.35))
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "demo",
                "gen_ai.request.model": "demo-model",
                "gen_ai.usage.input_tokens": 40 + 12 * sum(len(p.split()) for p in passages),
                "gen_ai.usage.output_tokens": len(answer.split()) * 3,
                "gen_ai.input.messages": question,
                "gen_ai.output.messages": answer,
            }
        )
        return answer


def answer(question: str, session: str) -> str:
    """Plan, look up, and answer."""
    with tracer.start_as_current_span("invoke_agent assistant") as span:
        span.set_attributes({"gen_ai.operation.name": "invoke_agent", "session.id": session})
        passages = find_passages(plan(question))
        return complete(question, passages)


@app.post("/chat")
def chat(question: str, session: str) -> dict[str, str]:
    """Handle POST /chat."""
    return {"answer": answer(question, session)}


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on {listener.getsockname()[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
