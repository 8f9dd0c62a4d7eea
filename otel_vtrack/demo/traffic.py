"""Sends questions to a running app."""

import http
import http.client
import itertools
import random
import threading
from typing import Final
from urllib.parse import urlencode

_QUESTIONS: Final = (
    "Where is my refund?",
    "How do I get an invoice?",
    "I forgot my password",
    "Can you cancel my refund?",
)


def send(port: int, requests: int, *, callers: int, seed: int) -> int:
    """Send `requests` questions from `callers` threads; return how many succeeded."""
    numbers = itertools.count()
    answered = [0] * callers

    def ask(caller: int) -> None:
        chance = random.Random(seed * 1000 + caller)  # noqa: S311 - questions, not secrets
        while next(numbers) < requests:
            query = urlencode(
                {
                    "question": chance.choice(_QUESTIONS),
                    "session": f"session-{chance.randrange(40)}",
                }
            )
            # A new connection each time: after an error the app closes its connection silently.
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", f"/chat?{query}")
            response = connection.getresponse()
            response.read()
            connection.close()
            answered[caller] += response.status == http.HTTPStatus.OK

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered)
