"""Signatures that another implementation accepts, of whatever we write, and refuses once anything was changed."""

import base64
from functools import cache
from typing import Any

import dkim  # pyright: ignore[reportMissingTypeStubs]  it has none
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings

from libs.planning.words.render import Content
from services.sender.rules.dkim import SIGNED, Signer, read_key, signed
from services.sender.rules.message import build
from tests.mail import HEADERS, check_wire, contents, parse, texts

ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
CONTENT = Content(subject="Hello", text="A word with you?\n")


@cache
def key_of(algorithm: str) -> tuple[Signer, bytes]:
    """A signer and what its DNS says."""
    if algorithm == "rsa-sha256":
        key: Any = rsa.generate_private_key(65537, 2048)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kind = b"rsa"
    else:
        key = ed25519.Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        kind = b"ed25519"
    return Signer(domain="acme.test", selector="s1", key=key), b"v=DKIM1; k=%s; p=%s" % (kind, base64.b64encode(public))


def is_accepted(raw: bytes, record: bytes) -> bool:
    asked: list[bytes] = []

    def dns(name: bytes, **_: Any) -> bytes:
        asked.append(name)
        return record

    verdict = dkim.verify(raw, dnsfunc=dns)  # pyright: ignore[reportUnknownMemberType]  as above
    assert asked == [b"s1._domainkey.acme.test."]
    return verdict


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=40, deadline=None)
@given(name=texts, content=contents)
def test_whatever_is_written_its_signature_holds(algorithm: str, name: str, content: Content) -> None:
    signer, record = key_of(algorithm)
    headers = msgspec.structs.replace(HEADERS, sender_name=name, in_reply_to="<a@b.test>", references=["<a@b.test>"])
    raw = signed(build(headers, content).content, signer, HEADERS.date)
    check_wire(raw)
    assert parse(raw).keys()[0] == "DKIM-Signature"
    assert is_accepted(raw, record)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_signature_says_what_it_covers(algorithm: str) -> None:
    signer, _ = key_of(algorithm)
    headers = msgspec.structs.replace(HEADERS, in_reply_to="<a@b.test>", references=["<a@b.test>"])
    value = str(parse(signed(build(headers, CONTENT).content, signer, HEADERS.date))["DKIM-Signature"])
    tags = dict(tag.strip().split("=", 1) for tag in value.split(";"))
    assert tags["h"].replace(" ", "").split(":") == [*SIGNED, "From"]
    assert (tags["a"], tags["d"], tags["s"], tags["t"]) == (algorithm, "acme.test", "s1", "1772442000")
    assert tags.keys() == {"v", "a", "c", "d", "s", "t", "bh", "h", "b"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"A word", b"A sword"),
        (b"with you?\r\n", b"with you?\r\nAnd more\r\n"),
        (b"To: bob", b"To: eve"),
        (b"Subject: Hello", b"Subject: Yellow"),
        (b"Message-ID: <a", b"Message-ID: <b"),
        (b"\r\nTo:", b"\r\nFrom: eve@evil.test\r\nTo:"),
        (b"\r\nList-Unsubscribe-Post: ", b"\r\nX-Unsubscribe-Post: "),
    ],
)
def test_what_was_changed_on_the_way_is_refused(algorithm: str, old: bytes, new: bytes) -> None:
    signer, record = key_of(algorithm)
    raw = signed(build(HEADERS, CONTENT).content, signer, HEADERS.date)
    assert raw.count(old) == 1
    assert is_accepted(raw, record)
    assert not is_accepted(raw.replace(old, new), record)


def test_spaces_that_a_relay_adds_and_lines_that_it_folds_do_no_harm() -> None:
    signer, record = key_of("ed25519-sha256")
    raw = signed(build(HEADERS, CONTENT).content, signer, HEADERS.date)
    assert is_accepted(
        raw.replace(b"Subject: Hello", b"SUBJECT:\r\n   Hello ").replace(b"you?", b"you? \t") + b"\r\n", record
    )


def test_an_empty_body_has_the_hash_that_the_standard_names() -> None:
    signer, record = key_of("rsa-sha256")
    raw = signed(b"From: ann@acme.test\r\n\r\n", signer, HEADERS.date)
    assert b"bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" in raw  # RFC 6376 §3.4.4
    assert is_accepted(raw, record)


def test_only_keys_that_dkim_knows_are_read() -> None:
    def pem(key: Any) -> str:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    assert read_key(pem(ed25519.Ed25519PrivateKey.generate()))
    for wrong in (pem(ec.generate_private_key(ec.SECP256R1())), "no key"):
        with pytest.raises(ValueError, match=r"RSA|PEM"):
            read_key(wrong)
