"""Estimates and tests on arrays of numbers, for units that depend on each other within clusters.

Functions take numpy arrays of equal length, one element per unit (a trace, a span, an assessment),
and know nothing of where they come from:

- `values`, `successes` or `codes`: what was measured. No NaN.
- `is_candidate`: which of the two sides a unit is on.
- `clusters`: integers, equal for units that may depend on each other (spans of a trace, traces of
  a session). Where all differ, units are independent. A cluster may have units of both sides.
- `strata`: integers, equal for units that share the values of possible confounders; sides are
  compared within each stratum. None is a single stratum.
- `weights`: how many members of the population each unit stands for, where units were sampled with
  unequal probabilities (OpenTelemetry's adjusted counts). Estimates are then of the population, and
  errors those of the sample. None is one each. Exact tests run only on units of equal weight.

Intervals are at 95 %, tests are two-sided.
"""
