"""Bodies of sending domains and their keys."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from services.api.bodies.fields import Body, DomainName, by
from services.api.dkim import Algorithm
from services.api.rules import addresses

Selector = Annotated[str, StringConstraints(max_length=63, strict=True), AfterValidator(by(addresses.selector))]


class DomainIn(Body):
    """A domain that the team sends from; `dkim_selector`: under which its provider signs, where that is known."""

    domain: DomainName
    dkim_selector: Selector | None = None


class DomainPatch(Body):
    """What may be changed of a domain without a key of ours."""

    dkim_selector: Selector | None = None


class DkimIn(Body):
    """The key that signs a domain's mail over its own SMTP server; without `private_key` one is made."""

    selector: Selector
    algorithm: Algorithm = "rsa-2048"
    private_key: Annotated[str, Field(strict=True, max_length=10_000)] | None = None
