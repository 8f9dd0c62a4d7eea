"""What of the settings says how to sample."""

from typing import Annotated, Final

from pydantic import BaseModel, ByteSize, ConfigDict, Field

_LONGEST_WINDOW_SECONDS: Final = 600.0


class Sample(BaseModel):
    """How what is stored is sampled; docs/sampling.md says more.

    Attributes:
        probability: With which a trace is stored that nothing else keeps.
        keep_errors: Whether a trace with a failed span is kept for certain.
        slow_seconds: A trace is kept for certain if its root, or where it enters a service, takes
            this long or longer; None: however long.
        minimum_per_minute: So many traces a minute of each version in each environment are
            stored, or all if there are fewer.
        window_seconds: How long a trace is waited for before it is decided on.
        window_max_bytes: Most that is held back meanwhile; beyond them the oldest is decided on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    probability: Annotated[float, Field(ge=0, le=1)]
    keep_errors: bool = True
    slow_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    minimum_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 10
    window_seconds: Annotated[float, Field(ge=0, le=_LONGEST_WINDOW_SECONDS)] = 10.0
    window_max_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(64 << 20)
