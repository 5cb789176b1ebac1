"""Plans: how many seeds a question needs, before any GPU is used."""

from __future__ import annotations

import math

from scipy import stats

MOST = 10_000  # seeds; nobody trains more, and without a limit the count would go on for ever


class BadPlan(ValueError):
    """A question that no number of seeds answers. The message names the question."""


def seeds_needed(difference: float, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many seeds find a true paired `difference` with a probability of at least `power`.

    sd: the standard deviation of one paired difference. The count starts at ((z_{1-alpha/2} + z_{power}) sd /
    difference)^2, which is enough for a known sd and two or three seeds too few for an estimated one, and goes up until
    `power_of` is enough. Raises BadPlan where the start is over `MOST`.
    """
    if not 0 < difference < math.inf or not 0 <= sd < math.inf:
        raise BadPlan(f"difference {difference} must be positive and sd {sd} not negative")
    if not 0 < power < 1:
        raise BadPlan(f"power {power} must lie between 0 and 1")
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    estimate = (z * sd / difference) ** 2
    if estimate > MOST:
        raise BadPlan(f"a difference of {difference:g} at an sd of {sd:g} takes more than {MOST} seeds")
    num_seeds = max(2, math.ceil(estimate))
    while power_of(num_seeds, difference, sd, alpha=alpha) < power:
        num_seeds += 1
    return num_seeds


def sentence(difference: float, sd: float, *, power: float = 0.8) -> str:
    """The plan as a sentence. It says too what one seed fewer would find."""
    num_seeds = seeds_needed(difference, sd, power=power)
    found = 100 * power_of(num_seeds, difference, sd)
    text = (
        f"{num_seeds} seeds find a true difference of {difference:g} with a probability of {found:.1f} %, by a 95 % "
        f"interval over runs paired by seed whose differences have a standard deviation of {sd:g}"
    )
    if num_seeds > 2:
        text += f"; {num_seeds - 1} with {100 * power_of(num_seeds - 1, difference, sd):.1f} %"
    return text + "."


def power_of(num_seeds: int, difference: float, sd: float, *, alpha: float = 0.05) -> float:
    """Probability that the t interval of `num_seeds` paired runs finds a true `difference`, by the non-central t."""
    if num_seeds < 2 or not sd >= 0:
        raise BadPlan(f"num_seeds {num_seeds} must be at least 2 and sd {sd} not negative")
    if difference * math.sqrt(num_seeds) > 1000 * sd:
        return 1.0  # exact to the last digit; the distribution function gives NaN here
    df, shift = num_seeds - 1, difference / sd * math.sqrt(num_seeds)
    critical = stats.t.ppf(1 - alpha / 2, df)
    return float(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift))
