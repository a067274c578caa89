"""Bodies of the unibox: marks, an assignee, an intent, an answer, whose a message is."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from libs.schema.events.reply import Intent
from services.api.bodies.fields import Body, Flag, by, finding, unchanged
from services.api.queries.replies import Marks
from services.api.rules import answers
from services.api.rules.text import Refused

MAX_BATCH = 1000


class _Marked(Body):
    """Something to say of replies; a field that is left out stays as it is."""

    is_read: Flag = unchanged()
    is_archived: Flag = unchanged()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.given():
            raise finding(Refused("missing", "nothing is said", "send at least one field"))
        return self

    def marks(self) -> Marks:
        """What it says."""
        return Marks(is_read=self.is_read, is_archived=self.is_archived)


class ReplyPatch(_Marked):
    """A person's marks on a reply; `needs_review` false: somebody looked, and what was made of it is right."""

    needs_review: Flag = unchanged()

    def marks(self) -> Marks:
        """What it says."""
        return Marks(is_read=self.is_read, is_archived=self.is_archived, needs_review=self.needs_review)


def _ids(value: Any) -> Any:
    if not isinstance(value, list):
        raise Refused("list_type", "ids must be a list", "send a list of replies' ids")
    return value  # pyright: ignore[reportUnknownVariableType]  each is checked apart, so that a bad one loses no other


class ReplyBatch(_Marked):
    """Marks on up to 1,000 replies; each id gets its own verdict."""

    ids: Annotated[list[Any], BeforeValidator(by(_ids)), Field(min_length=1, max_length=MAX_BATCH)]

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.given().keys() == {"ids"}:
            raise finding(Refused("missing", "nothing is said", "send is_read or is_archived"))
        return self


class ThreadPatch(_Marked):
    """Marks on all replies of a conversation, and whose it is: a member's id, or null for nobody's."""

    assigned_to: UUID | None = unchanged()


class IntentIn(Body):
    """What a reply means, as a person reads it."""

    intent: Intent


class AnswerIn(Body):
    """An answer by hand as text and, if wanted, the same as HTML; its subject and who gets it are the thread's."""

    body_text: Annotated[str, Field(strict=True), AfterValidator(by(answers.text))]
    body_html: Annotated[str | None, Field(strict=True), AfterValidator(by(answers.html))] = None


class MessageAssignment(Body):
    """Whose answer an unmatched message is, and to which email, where that is known."""

    lead_id: UUID
    email_id: UUID | None = None


class MessagePatch(Body):
    """Whether a message is put away."""

    is_dismissed: Flag
