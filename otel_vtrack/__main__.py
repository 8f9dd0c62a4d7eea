"""`python -m otel_vtrack` is the command `vtrack`."""

from otel_vtrack.cli import main

main()
