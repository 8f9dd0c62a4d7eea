"""The sampling settings."""

from typing import Annotated, Final

from pydantic import BaseModel, ByteSize, ConfigDict, Field

_LONGEST_WINDOW_SECONDS: Final = 600.0


class Sample(BaseModel):
    """How stored traces are sampled; see docs/sampling.md.

    Attributes:
        probability: The probability of storing a trace that nothing else keeps.
        keep_errors: Whether to always keep a trace with a failed span.
        slow_seconds: Always keep a trace whose root, or whose entry into a service, takes at
            least this long; None to ignore durations.
        minimum_per_minute: Traces stored per minute for each version in each environment, or all
            of them if there are fewer.
        window_seconds: How long to wait for a trace's spans before deciding.
        window_max_bytes: Most bytes held back meanwhile; above that, the oldest trace is decided.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    probability: Annotated[float, Field(ge=0, le=1)]
    keep_errors: bool = True
    slow_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    minimum_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 10
    window_seconds: Annotated[float, Field(ge=0, le=_LONGEST_WINDOW_SECONDS)] = 10.0
    window_max_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(64 << 20)
