"""A person's time zone out of what a list knows: a zone's name, else city and country, else a country with one clock.

The names are those of the time zone database itself; nothing is looked up over the network. Never guesses: in a country
with several zones a city that the database does not name is no zone.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

# What people write for countries that ISO 3166 lists under another name.
ALIASES = {
    "usa": "US",
    "u s a": "US",
    "u s": "US",
    "united states of america": "US",
    "america": "US",
    "uk": "GB",
    "u k": "GB",
    "united kingdom": "GB",
    "great britain": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "northern ireland": "GB",
    "holland": "NL",
    "the netherlands": "NL",
    "czechia": "CZ",
    "south korea": "KR",
    "korea": "KR",
    "republic of korea": "KR",
    "uae": "AE",
    "turkiye": "TR",
    "viet nam": "VN",
    "russian federation": "RU",
    "hong kong sar": "HK",
    "macao": "MO",
    "bosnia": "BA",
    "ivory coast": "CI",
    "swaziland": "SZ",
    "deutschland": "DE",
    "osterreich": "AT",
    "schweiz": "CH",
    "espana": "ES",
    "italia": "IT",
    "brasil": "BR",
}
# Zones are one clock when they agree on the first of every month of this year; the year itself is of no importance.
_SAMPLES = tuple(datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 13))
_WORDS = re.compile(r"[^a-z0-9]+")


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A person's zone, and what it was known from: the lead's own field, its city or its country."""

    zone: str
    source: Literal["lead", "city", "country"]


class _Places(msgspec.Struct, frozen=True):
    countries: dict[str, str]  # name or code, as plain words → ISO code
    clocks: dict[str, str]  # ISO code → its zone, where the whole country keeps one clock
    cities: dict[str, dict[str, str]]  # the city in a zone's name, as plain words → ISO code → zone


@lru_cache(maxsize=16_384)
def zone_of(timezone: str | None, country: str | None, city: str | None) -> Known | None:
    """The person's zone; None when nothing tells it for sure."""
    if timezone and timezone in _zone_names():
        return Known(zone=timezone, source="lead")
    places = _places()
    code = places.countries.get(_plain(country or ""))
    if country and _plain(country) and code is None:
        return None  # a country that we do not know: a city of that name may be another one
    by_country = places.cities.get(_plain(city or ""), {})
    if code in by_country:
        return Known(zone=by_country[code], source="city")
    if code is None and len(by_country) == 1:
        return Known(zone=next(iter(by_country.values())), source="city")
    if code in places.clocks:
        return Known(zone=places.clocks[code], source="country")
    return None


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def _places() -> _Places:
    """The tables of tzdata: ISO 3166 codes and names, and each country's zones with the city in their names."""
    zones: dict[str, list[str]] = defaultdict(list)
    cities: dict[str, dict[str, str]] = defaultdict(dict)
    for code, _, zone, *_ in _rows("zone.tab"):
        zones[code].append(zone)
        cities[_plain(zone.rpartition("/")[2])][code] = zone
    countries = {_plain(name): code for code, name in _rows("iso3166.tab") if code in zones}
    countries |= {_plain(code): code for code in zones} | ALIASES
    clocks = {code: several[0] for code, several in zones.items() if _one_clock(several)}
    return _Places(countries=countries, clocks=clocks, cities=dict(cities))


def _one_clock(zones: Sequence[str]) -> bool:
    """Germany has two zones, one of them for a village in Switzerland: what counts is whether their clocks differ."""
    return len({tuple(at.astimezone(ZoneInfo(zone)).utcoffset() for at in _SAMPLES) for zone in zones}) == 1


def _rows(table: str) -> list[list[str]]:
    text = files("tzdata").joinpath("zoneinfo", table).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def _plain(words: str) -> str:
    """Lower case without accents, and nothing but letters, figures and single spaces: "São_Paulo" is "sao paulo"."""
    bare = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode("ascii").lower()
    return _WORDS.sub(" ", bare).strip()
