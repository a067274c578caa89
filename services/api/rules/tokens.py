"""When an access token is renewed, and how long to wait after a failure. Never looks at a clock."""

RENEW_AT = 0.8  # of a token's life: what is left bridges an outage of the provider
# At most three tries in five minutes, and at least four an hour while the provider is away (reliability.md F49).
_WAITS_S = (30.0, 120.0, 300.0, 600.0, 900.0)


def wait_s(failures: int) -> float:
    """Seconds until the next try, after so many failures in a row (from 1)."""
    return _WAITS_S[min(failures, len(_WAITS_S)) - 1]
