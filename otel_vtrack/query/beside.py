"""Runs one part of a question beside another: each spends its time in the engine."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

# Kept, since to start a thread takes as long as a small answer. What runs here never waits for
# another that does.
POOL: Final = ThreadPoolExecutor(8, thread_name_prefix="beside")
