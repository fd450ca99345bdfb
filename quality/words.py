"""Figures in words."""

import datetime as dt
import math


def per_cent(share: float) -> str:
    """Write a share with two decimals, rounded down: 99.999 is not 100.

    Args:
        share: in per cent.
    """
    # The first rounding takes away what floating point added.
    return f"{math.floor(round(share * 100, 6)) / 100:g} %"


def hours(span: dt.timedelta) -> str:
    """Write a time span in whole hours.

    Args:
        span: the span.
    """
    return f"{span.total_seconds() / 3600:.0f} hours"
