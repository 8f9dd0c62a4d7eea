"""Tests whether two samples are as good as equal, and whether the later one is worse.

Sources:

- D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach for
  assessing the equivalence of average bioavailability, Journal of Pharmacokinetics and
  Biopharmaceutics 15 (1987): equal within a margin is what both one-sided tests show.
- A. Agresti and B. Caffo, Simple and effective confidence intervals for proportions and
  differences of proportions, The American Statistician 54 (2000): a success and a failure more in
  each sample, without which no errors in five traces would be proof.
- B. L. Welch, The generalization of Student's problem when several different population variances
  are involved, Biometrika 34 (1947).
"""

import math
from dataclasses import dataclass

from otel_vtrack.analysis.inference.distributions import student_above


@dataclass(frozen=True, slots=True)
class Tested:
    """What the tests say of after minus before.

    Attributes:
        difference: The estimate that the tests go by.
        equivalence_p_value: How likely a difference as small is, if the true one is the margin
            or more; the greater of the two one-sided tests'.
        worse_p_value: How likely a difference as far above 0 or farther on either side is, if
            there is none. 1 where the difference is not above 0.
    """

    difference: float
    equivalence_p_value: float
    worse_p_value: float


def proportions(before: tuple[int, int], after: tuple[int, int], *, margin: float) -> Tested:
    """Test two shares, each given as successes and trials."""
    shares = [(successes + 1) / (trials + 2) for successes, trials in (before, after)]
    error = math.sqrt(
        sum(
            share * (1 - share) / (trials + 2)
            for share, (_, trials) in zip(shares, (before, after), strict=True)
        )
    )
    return _tested(shares[1] - shares[0], error, margin, None)


def means(
    before: tuple[float, float, int], after: tuple[float, float, int], *, margin: float
) -> Tested:
    """Test two means, each given as mean, variance and count, of two or more values."""
    parts = [variance / count for _, variance, count in (before, after)]
    error = math.sqrt(sum(parts))
    freedom = 1.0
    if error > 0:
        freedom = sum(parts) ** 2 / sum(
            part * part / (count - 1)
            for part, (_, _, count) in zip(parts, (before, after), strict=True)
        )
    return _tested(after[0] - before[0], error, margin, freedom)


def _tested(difference: float, error: float, margin: float, freedom: float | None) -> Tested:
    """Test by Student's distribution, or of no freedom by the normal one."""
    if error <= 0:
        # All values are alike, which leaves nothing to chance.
        return Tested(difference, float(abs(difference) >= margin), float(difference <= 0))
    return Tested(
        difference,
        max(
            student_above((difference + margin) / error, freedom),
            student_above((margin - difference) / error, freedom),
        ),
        2 * student_above(difference / error, freedom) if difference > 0 else 1.0,
    )
