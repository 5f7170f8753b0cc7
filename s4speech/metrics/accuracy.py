"""The uncertainty of an accuracy."""

import math

Z_95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def wilson_interval(right: int, asked: int) -> tuple[float, float]:
    """95 % interval of the accuracy right / asked, by Wilson's score (Wilson 1927); holds near 0 and 1 too.

    The answers count as independent. Raises ValueError unless 0 <= right <= asked and asked > 0.
    """
    if not 0 <= right <= asked or asked < 1:
        raise ValueError(f"right, asked: got {right}, {asked}, wanted 0 <= right <= asked and asked >= 1")
    p, z2 = right / asked, Z_95**2
    centre = (p + z2 / (2 * asked)) / (1 + z2 / asked)
    half = Z_95 / (1 + z2 / asked) * math.sqrt(p * (1 - p) / asked + z2 / (4 * asked**2))
    return max(0.0, centre - half), min(1.0, centre + half)
