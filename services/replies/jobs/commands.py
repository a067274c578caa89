"""What people ask replies to do (libs/schema/commands.py): each command and who carries it out."""

from functools import partial

from libs.schema.commands import AssignMessage, ClassifyReply, Command
from libs.schema.runtime.jobs import Carry, carry_out
from services.replies.deps import Deps
from services.replies.jobs.assign import assign
from services.replies.jobs.classify import classify_by_hand


async def carry_out_commands(deps: Deps) -> bool:
    """Carries out the next command that waits for replies; returns whether there was one.

    Raises:
        OSError, asyncpg.PostgresError: the database is away or busy; the command waits.

    """
    carriers: dict[type[Command], Carry] = {
        AssignMessage: partial(assign, deps),
        ClassifyReply: partial(classify_by_hand, deps),
    }
    return await carry_out(deps, AssignMessage.QUEUE, carriers)
