"""A whole zone in a few lines: a name server on loopback that knows what a test told it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import dns.message
import dns.rcode
import dns.rrset


class Zone(asyncio.DatagramProtocol):
    """Answers questions for MX: with the exchangers, with none, with an error code, or (None) not at all."""

    def __init__(self, records: dict[str, list[str] | dns.rcode.Rcode | None]) -> None:
        self.records = records
        self.asked: list[str] = []
        self.most_at_once = 0
        self.answer_after_s = 0.0
        self.port = 0
        self._under_way = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        asyncio.get_running_loop().call_later(self.answer_after_s, self._answer, question, addr)

    def _answer(self, question: dns.message.Message, addr: tuple[str, int]) -> None:
        self._under_way -= 1
        name = str(question.question[0].name).rstrip(".")
        self.asked.append(name)
        known = self.records.get(name, dns.rcode.NXDOMAIN)
        if known is None:
            return
        answer = dns.message.make_response(question)
        if isinstance(known, dns.rcode.Rcode):
            answer.set_rcode(known)
        elif known:
            answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "MX", *known))
        if not self._transport.is_closing():
            self._transport.sendto(answer.to_wire(), addr)

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def zone(records: dict[str, list[str] | dns.rcode.Rcode | None]) -> AsyncGenerator[Zone]:
    """The zone on a free port."""
    transport, served = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Zone(records), local_addr=("127.0.0.1", 0)
    )
    try:
        yield served
    finally:
        transport.close()
