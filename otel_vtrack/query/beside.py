"""Run parts of a query in parallel; each spends its time in the engine."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

# Kept, because starting a thread takes as long as a small query. No task in this pool may wait for
# another one in it.
POOL: Final = ThreadPoolExecutor(8, thread_name_prefix="beside")
