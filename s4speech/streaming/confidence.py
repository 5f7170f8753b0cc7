"""From the posterior of a word to the probability that it is right."""

import math

from s4speech.config.streaming import Calibration

# A posterior is taken to be at least this much from 0 and from 1.
_LEAST = 1e-6


def confidence(log_posterior: float, calibration: Calibration) -> float:
    """sigmoid(scale * logit(posterior) + offset) of a natural log, to three digits."""
    log_p = min(max(log_posterior, math.log(_LEAST)), math.log1p(-_LEAST))
    logit = log_p - math.log(-math.expm1(log_p))
    # By tanh: exp would overflow for a steep calibration.
    return round(0.5 + 0.5 * math.tanh(0.5 * (calibration.scale * logit + calibration.offset)), 3)
