"""`python -m tests.stopped_courier PORT CA_FILE`: delivers a mail and says when T2 has committed, to be stopped there.

Writes "T2" and waits for a line on its standard input inside the commit; at the end writes how it ended.
"""

import asyncio
import sys
from uuid import UUID

from libs.schema.runtime.network import tls_context
from services.sender.rules.message import Message
from services.sender.smtp import Account, Courier, Timeouts

PASSWORD = "s3cret"
MESSAGE = Message(
    sender="ann@acme.test", recipient="bob@lead.test", content=b"Subject: Hi\r\n\r\nHello\r\n", smtputf8=False
)


def say(word: str) -> None:
    """To whoever started this process."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def commit() -> bool:
    """T2: committed, and then the process may be stopped before it goes on."""
    say("T2")
    sys.stdin.readline()  # blocks the whole process, as a signal does
    return True


async def main(port: int, ca_file: str) -> None:
    """One delivery; half a second stands for the five between T2 and the dot."""
    account = Account(
        inbox_id=UUID(int=1),
        host="localhost",
        port=port,
        tls="starttls",
        username="ann@acme.test",
        password=PASSWORD,
        helo="acme.test",
    )
    courier = Courier(tls_context(ca_file), allow=("127.0.0.0/8", "::1/128"), timeouts=Timeouts(commit_to_dot=0.5))
    say(str(await courier.deliver(account, MESSAGE, commit)))
    await courier.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
