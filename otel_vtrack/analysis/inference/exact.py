"""Fisher's exact test of 2 x 2 tables, and its stratified form.

Source: C. R. Mehta, N. R. Patel and R. Gray, Computing an exact confidence interval for the common
odds ratio in several 2 x 2 contingency tables, Journal of the American Statistical Association 80
(1985): given the margins of each stratum, the total of the successes is a sum of hypergeometric
variables.
"""

import numpy as np
import numpy.typing as npt

from otel_vtrack.analysis.inference import distributions

_Floats = npt.NDArray[np.float64]


def mantel_haenszel(table: _Floats) -> float:
    """Return the p-value: the probability of outcomes with these margins no likelier than this.

    Args:
        table: Successes and failures of one side, then of the other; one column per stratum. With
            one column it is Fisher's test.
    """
    chances = np.ones(1)
    seen = 0
    for successes, failures, others, other_failures in table.T:
        trials, found = successes + failures, successes + others
        least = max(0.0, found - others - other_failures)
        counts = np.arange(least, min(found, trials) + 1)
        if len(counts) == 1:
            continue
        log = (
            _log_choose(trials, counts)
            + _log_choose(others + other_failures, found - counts)
            - _log_choose(trials + others + other_failures, found)
        )
        chances = np.convolve(chances, np.exp(log))
        seen += int(successes - least)
    # The tolerance includes outcomes that are equally likely up to rounding.
    p_value = float(chances[chances <= chances[seen] * (1 + 1e-7)].sum())
    return p_value if p_value < 1 - 1e-9 else 1.0


def _log_choose(n: float | _Floats, k: float | _Floats) -> _Floats:
    gammaln = distributions.special().gammaln
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
