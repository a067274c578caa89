"""Ids, secrets, settings, clock and log masking: what must come out the same for ever, and what must never come out."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.schema.ids import campaign_send_id, lead_key, message_id, message_token, normalise_address
from libs.schema.runtime.clock import Clock, FixedClock, new_id
from libs.schema.runtime.settings import Settings, SettingsError, load
from libs.schema.runtime.telemetry import mask_secrets
from libs.schema.secrets import Purpose, SecretError, TokenError, open_secret, read_token, seal_secret, sign_token
from tests.support import PEPPER, SECRET_KEY

TEAM, EMAIL, LINK = (UUID(f"0195a6b0-0000-7000-8000-00000000000{n}") for n in (1, 2, 3))
OTHER_KEY = b"another key of thirty-two bytes!"


# ids


def test_a_person_is_the_same_however_the_address_is_written() -> None:
    keys = {lead_key(PEPPER, address) for address in ("Ann@Example.com", " ann@example.com ", "ann@EXAMPLE.com.")}
    assert len(keys) == 1
    assert lead_key(PEPPER, "ann@bücher.example") == lead_key(PEPPER, "ann@xn--bcher-kva.example")
    assert lead_key(PEPPER, "ann@example.com") != lead_key(OTHER_KEY, "ann@example.com")


def test_what_the_ledger_rests_on_never_changes() -> None:
    person = lead_key(PEPPER, "ann@example.com")
    assert person.hex() == "261da197e1a3c13cd3d7f8995639de800839534d2658e8e7d0a207e5683e6079"
    assert str(campaign_send_id(TEAM, EMAIL, person)) == "a6997912-f59c-511e-af30-b545b6d35a71"
    assert message_id(SECRET_KEY, EMAIL, "example.com") == "<yqcaa5prlliqbpvyx6nzldlr6x@example.com>"


def test_a_message_id_is_one_short_line() -> None:
    long_domain = "a" * 60 + ".example"
    assert len(message_id(SECRET_KEY, EMAIL, "example.com")) < 78
    assert message_token(SECRET_KEY, EMAIL) in message_id(SECRET_KEY, EMAIL, long_domain)
    assert message_token(SECRET_KEY, EMAIL) != message_token(OTHER_KEY, EMAIL)


@given(st.text(min_size=1, max_size=20))
def test_normalising_twice_changes_nothing_more(local: str) -> None:
    once = normalise_address(f"{local}@example.com")
    assert normalise_address(once) == once


# secrets


@given(st.text(max_size=200))
def test_a_sealed_secret_comes_out_again_and_is_not_in_its_seal(plaintext: str) -> None:
    sealed = seal_secret(SECRET_KEY, plaintext, row_id=TEAM, column="smtp_password")
    assert open_secret(SECRET_KEY, sealed, row_id=TEAM, column="smtp_password") == plaintext
    assert sealed.startswith("v1.")
    assert sealed != seal_secret(SECRET_KEY, plaintext, row_id=TEAM, column="smtp_password")


def test_a_seal_is_bound_to_its_row_its_column_and_its_key() -> None:
    sealed = seal_secret(SECRET_KEY, "hunter2", row_id=TEAM, column="smtp_password")
    with pytest.raises(SecretError, match="another row"):
        open_secret(SECRET_KEY, sealed, row_id=EMAIL, column="smtp_password")
    with pytest.raises(SecretError, match="another row"):
        open_secret(SECRET_KEY, sealed, row_id=TEAM, column="imap_password")
    with pytest.raises(SecretError, match="another key"):
        open_secret(OTHER_KEY, sealed, row_id=TEAM, column="smtp_password")


@given(st.integers(min_value=3, max_value=60), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_noticed(at: int, flip: int) -> None:
    sealed = seal_secret(SECRET_KEY, "hunter2", row_id=TEAM, column="smtp_password")
    raw = bytearray(base64.b64decode(sealed[3:]))
    raw[at % len(raw)] ^= flip
    with pytest.raises(SecretError):
        open_secret(SECRET_KEY, "v1." + base64.b64encode(raw).decode(), row_id=TEAM, column="smtp_password")


@pytest.mark.parametrize("sealed", ["", "hunter2", "v1.", "v1.!!!", "v2.AAAA", "v1.AAAA"])
def test_what_is_no_seal_is_refused_without_being_repeated(sealed: str) -> None:
    with pytest.raises(SecretError) as refused:
        open_secret(SECRET_KEY, sealed, row_id=TEAM, column="smtp_password")
    assert "hunter2" not in str(refused.value)


def test_tokens_carry_their_ids() -> None:
    assert read_token(SECRET_KEY, "unsubscribe", sign_token(SECRET_KEY, "unsubscribe", TEAM, EMAIL)) == (TEAM, EMAIL)
    click = sign_token(SECRET_KEY, "click", TEAM, EMAIL, LINK)
    assert read_token(SECRET_KEY, "click", click) == (TEAM, EMAIL, LINK)
    assert set(click) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    with pytest.raises(ValueError, match="carries 2 ids"):
        sign_token(SECRET_KEY, "open", TEAM)


def test_a_token_is_for_one_purpose_and_one_key() -> None:
    token = sign_token(SECRET_KEY, "open", TEAM, EMAIL)
    wrong: list[tuple[bytes, Purpose]] = [(SECRET_KEY, "unsubscribe"), (SECRET_KEY, "click"), (OTHER_KEY, "open")]
    for key, purpose in wrong:
        with pytest.raises(TokenError):
            read_token(key, purpose, token)


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_a_token_with_one_other_character_is_refused(at: int, character: str) -> None:
    token = sign_token(SECRET_KEY, "open", TEAM, EMAIL)
    place = at % len(token)
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        with pytest.raises(TokenError):
            read_token(SECRET_KEY, "open", changed)


@pytest.mark.parametrize("token", ["", "=", "A" * 64, "é" * 64, "A" * 1_000_000])
def test_a_token_that_was_never_one_is_refused(token: str) -> None:
    with pytest.raises(TokenError):
        read_token(SECRET_KEY, "open", token)


def test_the_tokens_that_are_out_there_stay_valid() -> None:
    assert (
        sign_token(SECRET_KEY, "unsubscribe", TEAM, EMAIL)
        == "AZWmsAAAcACAAAAAAAAAAQGVprAAAHAAgAAAAAAAAAIIXG5mtnRj27uAojibGst2"
    )


# clock


def test_new_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [id_.int >> 80 for id_ in ids] == sorted(id_.int >> 80 for id_ in ids)
    assert {id_.version for id_ in ids} == {7}
    assert {id_.variant for id_ in ids} == {"specified in RFC 4122"}


def test_business_time_is_real_time_and_an_offset() -> None:
    ahead = Clock(timedelta(days=3)).now() - Clock().now()
    assert timedelta(days=3) - timedelta(seconds=5) < ahead <= timedelta(days=3)
    fixed = FixedClock(datetime(2026, 3, 2, tzinfo=UTC))
    fixed.move(timedelta(hours=1))
    assert fixed.now() == datetime(2026, 3, 2, 1, tzinfo=UTC)


# settings


class Probe(Settings, frozen=True, kw_only=True):
    """A service's own settings."""

    poll_s: float = 0.5
    max_sends: int
    is_eager: bool = False


GOOD = {
    "COLDSTREAM_DATABASE_URL": "postgresql://coldstream_sender:canary@db/coldstream",
    "COLDSTREAM_NATS_URL": "nats://canary@nats:4222",
    "COLDSTREAM_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
    "COLDSTREAM_PEPPER": base64.b64encode(PEPPER).decode(),
    "COLDSTREAM_MAX_SENDS": "7",
}


def test_settings_are_read_with_their_types() -> None:
    more = {
        "COLDSTREAM_DANGEROUS_ALLOW_NETWORKS": "127.0.0.0/8, ::1/128",
        "COLDSTREAM_POLL_S": "0.25",
        "COLDSTREAM_IS_EAGER": "true",
        "COLDSTREAM_OPS_PORT": "9464",
    }
    settings = load(Probe, GOOD | more)
    assert (settings.secret_key, settings.pepper, settings.max_sends) == (SECRET_KEY, PEPPER, 7)
    assert settings.dangerous_allow_networks == ("127.0.0.0/8", "::1/128")
    assert (settings.poll_s, settings.is_eager, settings.ops_port) == (0.25, True, 9464)
    assert (settings.extra_ca_file, settings.log_level, settings.otlp_endpoint) == (None, "info", None)


def test_settings_are_read_from_files_without_their_last_newline(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("nats://from-a-file\n")
    environment = {name: value for name, value in GOOD.items() if name != "COLDSTREAM_NATS_URL"}
    assert load(Probe, environment | {"COLDSTREAM_NATS_URL_FILE": str(file)}).nats_url == "nats://from-a-file"


def test_every_wrong_setting_is_named_at_once_with_its_mend_and_none_of_its_values() -> None:
    with pytest.raises(SettingsError) as refused:
        load(
            Probe,
            {
                "COLDSTREAM_DATABASE_URL": "postgresql://canary",
                "COLDSTREAM_DATABASE_URL_FILE": "/run/secrets/url",
                "COLDSTREAM_SECRET_KEY": "canary-too-short",
                "COLDSTREAM_PEPPER": base64.b64encode(b"canary").decode(),
                "COLDSTREAM_OPS_PORT": "70000",
                "COLDSTREAM_LOG_LEVEL": "canary",
                "COLDSTREAM_POLL_S": "canary",
                "COLDSTREAM_PUBLIC_URL_FILE": "/nowhere/canary",
            },
        )
    text = str(refused.value)
    for variable in (
        *("DATABASE_URL", "NATS_URL", "SECRET_KEY", "PEPPER", "OPS_PORT", "LOG_LEVEL", "POLL_S", "MAX_SENDS"),
        "PUBLIC_URL",
    ):
        assert f"  COLDSTREAM_{variable} is " in text
    assert "COLDSTREAM_NATS_URL is missing; set it to the NATS URL" in text
    assert "32 random bytes in base64: python -c" in text
    assert "COLDSTREAM_DATABASE_URL_FILE is set too" in text
    assert "canary" not in text


def test_settings_show_no_value() -> None:
    settings = load(Probe, GOOD)
    assert "canary" not in f"{settings!r} {settings}"
    assert msgspec.structs.asdict(settings)["nats_url"] == "nats://canary@nats:4222"


# logs


def test_fields_that_are_named_like_a_secret_are_masked() -> None:
    line = {"event": "inbox.tested", "smtp_password": "x", "Authorization": "x", "inbox_id": "1", "token": "x"}
    masked = {"event": "inbox.tested", "smtp_password": "***", "Authorization": "***", "inbox_id": "1", "token": "***"}
    assert mask_secrets(None, "info", dict(line)) == masked
