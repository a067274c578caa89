"""A whole zone in a few lines: a name server on loopback that knows what a test told it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias, cast

import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.TXT import TXT

Records: TypeAlias = "Mapping[str, list[str] | dns.rcode.Rcode | None]"
_STRING = 255  # bytes of one string of a text


class Zone(asyncio.DatagramProtocol):
    """Answers questions: with what a name has, with nothing, with an error code, or (None) not at all.

    A bare name holds its mail exchangers, "TXT name" its texts, and so on.
    """

    def __init__(self, records: Records) -> None:
        self.records = dict(records)
        self.asked: list[str] = []
        self.most_at_once = 0
        self.answer_after_s = 0.0
        self.held: list[tuple[dns.message.Message, tuple[str, int]]] | None = None  # a list: until they are let go
        self.port = 0
        self._under_way = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        if self.held is not None:
            self.held.append((question, addr))
            return
        asyncio.get_running_loop().call_later(self.answer_after_s, self._answer, question, addr)

    def let_go(self) -> None:
        """Answers what was held, and everything from now on."""
        held, self.held = self.held or [], None
        for question, addr in held:
            self._answer(question, addr)

    def _answer(self, question: dns.message.Message, addr: tuple[str, int]) -> None:
        self._under_way -= 1
        name = str(question.question[0].name).rstrip(".")
        kind = dns.rdatatype.to_text(question.question[0].rdtype)
        key = name if kind == "MX" else f"{kind} {name}"
        self.asked.append(key)
        answer = dns.message.make_response(question)
        while target := self.records.get(f"CNAME {name}"):
            answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "CNAME", *cast("list[str]", target)))
            name = cast("list[str]", target)[0].rstrip(".")
            if len(answer.answer) > len(self.records):
                break
        known = self.records.get(name if kind == "MX" else f"{kind} {name}", self._nothing(name))
        if known is None:
            return
        if isinstance(known, dns.rcode.Rcode):
            answer.set_rcode(known)
        elif known:
            answer.answer.append(_rrset(name, kind, known))
        if not self._transport.is_closing():
            self._transport.sendto(answer.to_wire(), addr)

    def _nothing(self, name: str) -> list[str] | dns.rcode.Rcode:
        """A name that has something else exists."""
        return [] if any(key.rpartition(" ")[2] == name for key in self.records) else dns.rcode.NXDOMAIN

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"


def _rrset(name: str, kind: str, values: list[str]) -> dns.rrset.RRset:
    if kind != "TXT":
        return dns.rrset.from_text(f"{name}.", 60, "IN", kind, *values)
    texts = [value.encode("latin-1") for value in values]
    parts = [[text[at : at + _STRING] for at in range(0, len(text), _STRING)] or [b""] for text in texts]
    records = [TXT(dns.rdataclass.IN, dns.rdatatype.TXT, each) for each in parts]
    return dns.rrset.from_rdata(dns.name.from_text(f"{name}."), 60, *records)


@asynccontextmanager
async def zone(records: Records) -> AsyncGenerator[Zone]:
    """The zone on a free port."""
    transport, served = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Zone(records), local_addr=("127.0.0.1", 0)
    )
    try:
        yield served
    finally:
        transport.close()
