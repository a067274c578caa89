"""Which folder is which, whatever it is called and however that is written."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replies.rules.folders import Folder, choose, readable


def folder(name: str, *flags: str, mark: str = "/") -> Folder:
    return Folder(name=name, mark=mark, flags=frozenset(flags))


def test_the_inbox_is_always_one() -> None:
    assert choose([]) == {"INBOX": "INBOX"}


def test_flags_decide_whatever_the_names_say() -> None:
    folders = [folder("Sent"), folder("Spam"), folder("Ausgang", "\\sent"), folder("Quarantine", "\\junk")]
    assert choose(folders) == {"INBOX": "INBOX", "Junk": "Quarantine", "Sent": "Ausgang"}


def test_a_folder_that_cannot_be_opened_is_none() -> None:
    folders = [folder("Sent", "\\noselect"), folder("Junk", "\\nonexistent", "\\junk"), folder("Sent Items")]
    assert choose(folders) == {"INBOX": "INBOX", "Sent": "Sent Items"}


def test_of_several_names_the_shallower_folder_is_the_accounts_own() -> None:
    folders = [folder("Old account/Sent Items"), folder("Sent Messages"), folder("INBOX/Spam")]
    assert choose(folders) == {"INBOX": "INBOX", "Sent": "Sent Messages", "Junk": "INBOX/Spam"}


@pytest.mark.parametrize(
    ("name", "role", "mark"),
    [
        ("Gesendete Elemente", "Sent", "/"),
        ("&AMk-l&AOk-ments envoy&AOk-s", "Sent", "/"),
        ("Elementos enviados", "Sent", "/"),
        ("&kAFP4W4IMH8-", "Sent", "/"),
        ("INBOX.Wys&AUI-ane", "Sent", "."),
        ("[Gmail]/Messages envoy&AOk-s", "Sent", "/"),
        ("&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-", "Sent", "|"),
        ("Courrier ind&AOk-sirable", "Junk", "/"),
        ("Skr&AOQ-ppost", "Junk", "/"),
        ("&j,dg0TDhMPww6w-", "Junk", "/"),
        ("Correo no deseado", "Junk", "/"),
        ("JUNK E-MAIL", "Junk", ""),
    ],
)
def test_localized_names_are_known_in_modified_utf_7(name: str, role: str, mark: str) -> None:
    assert choose([folder(name, mark=mark)]).get(role) == name  # pyright: ignore[reportArgumentType] - a Role


def encoded(text: str) -> str:
    """RFC 3501 §5.1.3, from the other side."""
    parts: list[str] = []
    for character in text:
        if character == "&":
            parts.append("&-")
        elif " " <= character <= "~":
            parts.append(character)
        else:
            shifted = character.encode("utf-16-be")
            parts.append("&" + b64encode(shifted).decode().rstrip("=").replace("/", ",") + "-")
    return "".join(parts)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_name_can_be_read(text: str) -> None:
    assert readable(encoded(text)) == text


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_what_is_no_modified_utf_7_is_left_as_it_is_or_read_and_never_raises(text: str) -> None:
    readable(text)
