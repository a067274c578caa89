"""Public holidays by country, out of the `holidays` library: a campaign may rest on them.

Never fails for a country that nobody knows: it has no holidays.
"""

from datetime import date
from functools import lru_cache


def is_holiday(country: str, day: date) -> bool:
    """Whether the day is a public holiday in the whole country (ISO 3166 code)."""
    return day in _holidays(country.upper(), day.year)


@lru_cache(maxsize=512)
def _holidays(country: str, year: int) -> frozenset[date]:
    import holidays  # noqa: PLC0415 - it takes a quarter of a second, and most installations never need it

    try:
        return frozenset(holidays.country_holidays(country, years=year))
    except NotImplementedError:  # the library's word for a country that it does not know
        return frozenset()
