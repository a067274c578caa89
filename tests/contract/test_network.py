"""No host that a user names leads into our own house, however it is spelled (reliability.md S13)."""

import asyncio
import ipaddress
import socket
import ssl
from typing import Any

import pytest

from libs.schema.runtime.network import (
    IMAP_PORTS,
    SMTP_PORTS,
    ForbiddenAddressError,
    is_public,
    resolve_public,
    tls_context,
)

FORBIDDEN = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254"),
    *("127.0.0.1", "127.1.2.3", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255"),
    *("198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:224.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::e000:1", "64:ff9b:1::1"),
    *("100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:20::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "4000::1", "1::1"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.9.9.9", "64.233.184.108", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1"),
    *("192.0.1.1", "198.17.0.1", "223.255.255.254", "2606:4700:4700::1111", "2a00:1450:4001:830::200e"),
    *("::ffff:8.8.8.8", "64:ff9b::808:808"),
]


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(ForbiddenAddressError, match="not on the public internet"):
        await resolve_public(address, 587, ports=None)


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_public_address_is_the_one_to_connect_to(address: str) -> None:
    found = await resolve_public(address, 587, ports=SMTP_PORTS)
    assert ipaddress.ip_address(found) == ipaddress.ip_address(address)


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost", "LOCALHOST."])
async def test_another_spelling_of_loopback_is_refused(spelling: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        await resolve_public(spelling, 587, ports=None)


@pytest.mark.parametrize("host", ["", ".", "a b", "a\r\nb", "a\x00b", "x" * 254, "xn--\udcff"])
async def test_what_is_no_host_name_is_refused_with_a_text_for_the_user(host: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        await resolve_public(host, 587, ports=None)


async def test_full_width_digits_are_the_address_that_they_mean() -> None:
    with pytest.raises(ForbiddenAddressError, match="127"):
        await resolve_public("\uff11\uff12\uff17.\uff10.\uff10.\uff11", 587, ports=None)


async def test_every_address_of_a_name_must_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(ForbiddenAddressError, match=r"mx.example.com has the address 10\.0\.0\.1"):
        await resolve_public("mx.example.com", 587, ports=SMTP_PORTS)


async def test_the_first_address_is_the_answer_so_that_nobody_looks_the_name_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_with(monkeypatch, "9.9.9.9", "2606:4700:4700::1111")
    assert await resolve_public("mx.example.com", 587, ports=SMTP_PORTS) == "9.9.9.9"


@pytest.mark.parametrize("port", [22, 80, 4222, 5432, 6379, 993])
async def test_a_port_of_another_protocol_is_refused(port: int) -> None:
    with pytest.raises(ForbiddenAddressError, match=f"port {port} is not allowed here; allowed: 25, 465, 587, 2525"):
        await resolve_public("8.8.8.8", port, ports=SMTP_PORTS)


@pytest.mark.parametrize("port", sorted(SMTP_PORTS))
async def test_the_ports_of_smtp_are_open(port: int) -> None:
    assert await resolve_public("8.8.8.8", port, ports=SMTP_PORTS) == "8.8.8.8"


async def test_imap_has_its_own_ports() -> None:
    assert frozenset({143, 993}) == IMAP_PORTS


async def test_an_opened_network_is_open_on_every_port_and_no_other_network_is() -> None:
    opened = ("127.0.0.0/8", "::1/128")
    assert await resolve_public("127.0.0.1", 40_123, allow=opened, ports=SMTP_PORTS) == "127.0.0.1"
    assert await resolve_public("::1", 40_123, allow=opened, ports=SMTP_PORTS) == "::1"
    with pytest.raises(ForbiddenAddressError):
        await resolve_public("10.0.0.1", 587, allow=opened, ports=SMTP_PORTS)
    with pytest.raises(ForbiddenAddressError):
        await resolve_public("8.8.8.8", 40_123, allow=opened, ports=SMTP_PORTS)


async def test_a_name_that_cannot_be_looked_up_now_is_not_called_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    with pytest.raises(OSError, match="try again"):
        await resolve_public("mx.example.com", 587, ports=None)


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """The system's resolver, whose answers a test cannot choose otherwise: this container has no DNS server of ours."""

    async def look_up(_: str, port: int, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)


def test_tls_is_verified_and_new_enough() -> None:
    context = tls_context(None)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match="No such file"):
        tls_context("/nowhere/ca.pem")
