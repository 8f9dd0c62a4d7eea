"""Estimates and tests over columns of numbers, for units that depend on each other in clusters.

Everything takes numpy arrays of equal length, one element a unit (a trace, a span, an assessment)
and knows nothing of where they come from:

- `values`, `successes` or `codes`: what was measured. No NaN.
- `is_candidate`: which of the two sides a unit is on.
- `clusters`: integers, equal for units that may depend on each other (spans of a trace, traces of
  a session). Where all differ, units are independent. A cluster may have units of both sides.
- `strata`: integers, equal for units that are alike in what could confound; each stratum's sides
  are compared with each other. None is one stratum of all.
- `weights`: how many of the population each unit stands for, where the data is a sample of uneven
  chances (OpenTelemetry's adjusted counts). Estimates are of the population then, and errors are
  those of the sample. None is one each. Exact tests are made only of units that stand for as many.

Intervals are at 95 %, tests are two-sided.
"""
