"""SPF, DKIM and DMARC as receivers read them: the rules are asked, and a dict is the whole internet."""

from base64 import b64encode
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from services.api.rules.records.dkim import USUAL, check_dkim
from services.api.rules.records.dmarc import check_dmarc
from services.api.rules.records.found import MAX_CHARS, Found
from services.api.rules.records.spf import check_spf
from tests.unit.dict_dns import run


def code(found: Found) -> str | None:
    """The one remark of a record."""
    (remark,) = found.remarks or (None,)
    return remark and remark.code


def spf(*texts: str, **names: Sequence[str]) -> Found:
    more = {f"TXT {name}.example": values for name, values in names.items()}
    return run(check_spf("acme.example"), {"TXT acme.example": texts, "A host.example": ["192.0.2.1"], **more})[0]


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 -all",
        "V=SPF1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip6:::1 ~ALL",
        "v=spf1  a:host.example  ?all ",
        "v=spf1 a:host.example/24//64 a:host.example//64 exists:%{i}._spf.%{d2}.example -all",
        "v=spf1 include:%{i}._ip.%{h}._ehlo.%{d}._spf.example ~all",
        "v=spf1 ptr +ip4:192.0.2.1 exp=why.example -all",
        "v=spf1 include:Mail.Example. ~all",
        "v=spf1 redirect=mail.example",
        "v=spf1 x-later=what/ever -all",
        "v=spf1 -all include:gone.example",
        "v=spf1 redirect=gone.example -all",
    ],
)
def test_a_sound_spf_record_is_valid(record: str) -> None:
    found = spf(record, "google-site-verification=x", mail=["v=spf1 ip4:192.0.2.9 -all"])
    assert (found.valid, found.record, found.remarks) == (True, record, ())


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], "spf_missing"),
        (["v=spf10 -all", "v=spf1,-all", "spf2.0/pra -all", "v=DMARC1; p=none"], "spf_missing"),
        (["v=spf1 -all", "v=spf1 ~all"], "spf_several"),
        (["v=spf1 +all"], "spf_open"),
        (["v=spf1 all"], "spf_open"),
        (["v=spf1 include:anybody.example -all"], "spf_open"),
        (["v=spf1 ip4:192.0.2.1"], "spf_endless"),
        (["v=spf1"], "spf_endless"),
        (["v=spf1 redirect=endless.example"], "spf_endless"),
        (["v=spf1 redirect=a.example redirect=b.example"], "spf_syntax"),
        (["v=spf1 include:gone.example -all"], "spf_dangling"),
        (["v=spf1 redirect=gone.example"], "spf_dangling"),
        (["v=spf1 include:twice.example -all"], "spf_several"),
        (["v=spf1 include:broken.example -all"], "spf_syntax"),
        (["v=spf1 a:x.example a:y.example mx:z.example -all"], "spf_void"),
        (["v=spf1 " + "x-many=words " * MAX_CHARS], "spf_long"),
        *(
            ([f"v=spf1 {term} -all"], "spf_syntax")
            for term in (
                "ip4:192.0.2.256", "ip4:192.0.2.0/33", "ip4", "ip4:", "ip4:192.0.2.0//24", "ip6:192.0.2.1",
                "ip6:2001:db8::/129", "ip4:2001:db8::1", "include", "include:", "include:nodots", "include:a..example",
                "include:mail.example/24", "a:192.0.2.1", "a:host.example/33", "a:host.example//129", "exists",
                "exists:", "mx/99", "all:x", "all/8", "+redirect=mail.example", "redirect=", "ipv4:192.0.2.1",
                "include:%{x}.example", "include:50%.example", "-", "a\tmx", "include:\\xc3.example", "mail.example",
            )
        ),
    ],
)  # fmt: skip
def test_what_receivers_make_nothing_of_is_invalid_and_says_why(texts: list[str], expected: str) -> None:
    names = {
        "anybody": ["v=spf1 +all"],
        "endless": ["v=spf1 ip4:192.0.2.1"],
        "twice": ["v=spf1 -all", "v=spf1 -all"],
        "broken": ["v=spf1 nonsense:x -all"],
    }
    found = spf(*texts, **names)
    assert (found.valid, code(found)) == (False, expected)
    assert found.remarks[0].mend


def test_ten_lookups_are_allowed_and_no_more() -> None:
    hosts = [f"a:h{n}.example" for n in range(10)]
    zone = {f"A h{n}.example": ["192.0.2.1"] for n in range(10)}
    texts = {"TXT acme.example": [f"v=spf1 {' '.join(hosts)} -all"]}
    assert run(check_spf("acme.example"), zone | texts)[0].valid is True
    texts = {"TXT acme.example": [f"v=spf1 ptr {' '.join(hosts)} -all"]}
    assert code(run(check_spf("acme.example"), zone | texts)[0]) == "spf_lookups"
    nested = {"TXT acme.example": ["v=spf1 include:one.example -all"], "TXT one.example": texts["TXT acme.example"]}
    assert code(run(check_spf("acme.example"), zone | nested)[0]) == "spf_lookups"


@pytest.mark.parametrize("text", ["v=spf1 include:acme.example -all", "v=spf1 redirect=acme.example"])
def test_a_record_that_leads_to_itself_is_followed_ten_times(text: str) -> None:
    found, asked = run(check_spf("acme.example"), {"TXT acme.example": [text]})
    assert (code(found), asked) == ("spf_lookups", 11)


def test_thousands_of_includes_cost_ten_questions() -> None:
    words = " ".join(f"include:i{n}.example" for n in range(100))
    zone = {"TXT acme.example": [f"v=spf1 {words} -all"]} | {f"TXT i{n}.example": ["v=spf1 -all"] for n in range(100)}
    found, asked = run(check_spf("acme.example"), zone)
    assert (code(found), asked) == ("spf_lookups", 11)


def test_two_names_that_are_gone_are_allowed() -> None:
    assert spf("v=spf1 a:x.example mx a:host.example -all").valid is True


def test_more_than_ten_exchangers_are_too_many() -> None:
    zone = {"TXT acme.example": ["v=spf1 mx -all"], "MX acme.example": [f"mx{n}.example" for n in range(11)]}
    assert code(run(check_spf("acme.example"), zone)[0]) == "spf_many_exchangers"


TERMS = st.sampled_from(
    ["all", "-all", "include:a.example", "include:b.example", "redirect=a.example", "a", "mx:b.example", "ptr"]
)
RECORD = st.one_of(
    st.text(), st.lists(TERMS).map(lambda terms: " ".join(["v=spf1", *terms])), st.just("v=DMARC1; psd=y")
)


@given(
    st.dictionaries(st.sampled_from(["TXT acme.example", "TXT a.example", "TXT b.example"]), st.lists(RECORD)),
    st.lists(RECORD),
)
def test_whatever_a_zone_says_there_is_a_verdict_after_few_questions(
    zone: dict[str, list[str]], texts: list[str]
) -> None:
    found, asked = run(check_spf("acme.example"), zone)
    assert found.valid in (True, False)
    assert bool(found.valid) != bool(found.remarks)
    assert asked <= 11
    found, asked = run(
        check_dmarc("a.b.acme.example"), {f"TXT _dmarc.{name}acme.example": texts for name in ("", "b.")}
    )
    assert found.valid in (True, False)
    assert asked <= 3
    found, asked = run(check_dkim("acme.example", "s1", None), {"TXT s1._domainkey.acme.example": texts})
    assert (found.valid, asked) == (False, 1)


def dmarc(domain: str, **names: str | list[str]) -> tuple[Found, int]:
    zone = {
        f"TXT _dmarc.{name.replace('_', '.')}": [texts] if isinstance(texts, str) else texts
        for name, texts in names.items()
    }
    return run(check_dmarc(domain), zone)


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        ("v=DMARC1; p=none", "none"),
        ("v=DMARC1;p=REJECT;rua=mailto:d@acme.example", "reject"),
        ("v = DMARC1 ; pct=100; p = quarantine; sp=none;", "quarantine"),
        ("v=DMARC1; p=none; sp=nonsense; fluff", "none"),
    ],
)
def test_a_dmarc_record_tells_its_policy(record: str, policy: str) -> None:
    found, asked = dmarc("acme.example", acme_example=[record, "v=spf1 -all"])
    assert (found.valid, found.policy, found.record, found.remarks, asked) == (True, policy, record, (), 1)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], "dmarc_missing"),
        (["v=spf1 -all", "v=dmarc1; p=none", "V=DMARC1; p=none"], "dmarc_missing"),
        ([" v=DMARC1; p=none", "p=none; v=DMARC1"], "dmarc_missing"),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "dmarc_several"),
        (["v=DMARC1; p=bogus"], "dmarc_policy"),
        (["v=DMARC1; rua=mailto:d@acme.example"], "dmarc_policy"),
        (["v=DMARC1"], "dmarc_policy"),
    ],
)  # fmt: skip
def test_a_dmarc_record_that_receivers_pass_over_is_none(texts: list[str], expected: str) -> None:
    found, _ = dmarc("acme.example", acme_example=texts)
    assert (found.valid, found.policy, code(found)) == (False, None, expected)


@pytest.mark.parametrize(
    ("names", "policy"),
    [
        ({"acme_example": "v=DMARC1; p=reject"}, "reject"),
        ({"acme_example": "v=DMARC1; p=reject; sp=none"}, "none"),
        ({"eu_acme_example": "v=DMARC1; p=none", "acme_example": "v=DMARC1; p=reject"}, "reject"),
        ({"eu_acme_example": "v=DMARC1; p=none; psd=n", "acme_example": "v=DMARC1; p=reject"}, "none"),
        ({"eu_acme_example": "v=DMARC1; p=none", "acme_example": "v=DMARC1; p=reject; psd=y"}, "none"),
        ({"eu_acme_example": "v=DMARC1; p=none", "acme_example": ["v=DMARC1; p=none", "v=DMARC1"]}, "none"),
    ],
)
def test_without_a_record_the_organisations_holds_with_its_word_for_subdomains(
    names: dict[str, str], policy: str
) -> None:
    found, _ = dmarc("mail.eu.acme.example", **names)
    assert (found.valid, found.policy, code(found)) == (True, policy, "dmarc_inherited")


@pytest.mark.parametrize("names", [{"acme_example": "v=DMARC1; p=reject; psd=y"}, {"example": "v=DMARC1; p=reject"}])
def test_a_registrys_policy_is_nobodys(names: dict[str, str]) -> None:
    found, _ = dmarc("mail.acme.example", **names)
    assert code(found) == "dmarc_missing"


def test_a_long_name_costs_eight_questions_at_most() -> None:
    _, asked = dmarc(".".join(["x"] * 100 + ["example"]))
    assert asked == 7


def public(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def rsa_of(bits: int) -> rsa.RSAPublicKey:
    """A public key of that length, which nobody has the other half of."""
    return rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key()


LONG = public(rsa_of(2048))
CURVE = public(ec.generate_private_key(ec.SECP256R1()).public_key())
EDWARDS = b64encode(bytes(range(32))).decode()


def dkim(*texts: str, selector: str | None = "s1", ours: str | None = None, at: str = "s1") -> Found:
    return run(check_dkim("acme.example", selector, ours), {f"TXT {at}._domainkey.acme.example": texts})[0]


@pytest.mark.parametrize(
    "record",
    [
        f"v=DKIM1; k=rsa; p={LONG}",
        f"p={LONG}",
        f"v=DKIM1;t=s; s=email ; h=sha1 : sha256; p={LONG[:100]} \t{LONG[100:]};",
        f"v=DKIM1; p={public(rsa_of(1024))}",
        f"k=rsa; p={b64encode(rsa_of(2048).public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()}",
        f"v=DKIM1; k=ed25519; p={EDWARDS}",
    ],
)
def test_a_key_that_verifiers_can_use_is_valid(record: str) -> None:
    found = dkim(record, "v=spf1 -all")
    assert (found.valid, found.record, found.remarks) == (True, record, ())


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], "dkim_missing"),
        (["v=spf1 -all"], "dkim_missing"),
        (["v=DKIM1; k=rsa"], "dkim_missing"),
        ([f"p={LONG}", f"v=DKIM1; p={LONG}"], "dkim_several"),
        (["v=DKIM1; p="], "dkim_revoked"),
        (["v=DKIM1; p= ;"], "dkim_revoked"),
        ([f"v=DKIM2; p={LONG}"], "dkim_unreadable"),
        (["v=DKIM1; p=nonsense"], "dkim_unreadable"),
        (["v=DKIM1; p=\\xff"], "dkim_unreadable"),
        ([f"v=DKIM1; p={LONG[:-8]}"], "dkim_unreadable"),
        ([f"v=DKIM1; p={CURVE}"], "dkim_unreadable"),
        ([f"v=DKIM1; k=rsa; p={EDWARDS}"], "dkim_unreadable"),
        ([f"v=DKIM1; k=ed25519; p={LONG}"], "dkim_unreadable"),
        ([f"v=DKIM1; k=dsa; p={LONG}"], "dkim_unreadable"),
        ([f"v=DKIM1; p={LONG}; n={'x' * MAX_CHARS}"], "dkim_unreadable"),
        ([f"v=DKIM1; p={public(rsa_of(768))}"], "dkim_short"),
        ([f"v=DKIM1; h=sha1; p={LONG}"], "dkim_hashes"),
        ([f"v=DKIM1; s=tlsrpt; p={LONG}"], "dkim_service"),
    ],
)
def test_a_key_that_verifiers_cannot_use_is_invalid_and_says_why(texts: list[str], expected: str) -> None:
    found = dkim(*texts)
    assert (found.valid, code(found)) == (False, expected)
    assert len(found.record or "") <= MAX_CHARS


def test_where_we_sign_the_key_is_ours() -> None:
    ours = f"v=DKIM1; k=rsa; p={LONG}"
    assert dkim(f"p={LONG[:50]} {LONG[50:]}", ours=ours).valid is True
    assert code(dkim(f"v=DKIM1; p={public(rsa_of(2047))}", ours=ours)) == "dkim_foreign"
    assert code(dkim(f"v=DKIM1; k=ed25519; p={EDWARDS}", ours=ours)) == "dkim_foreign"


@pytest.mark.parametrize("selector", USUAL)
def test_without_a_selector_a_key_at_a_usual_one_is_advice(selector: str) -> None:
    found = dkim(f"p={LONG}", selector=None, at=selector)
    assert (found.valid, code(found)) == (True, "dkim_guessed")
    assert f"selector {selector} " in found.remarks[0].detail


@pytest.mark.parametrize("texts", [[], ["p="]])
def test_without_a_selector_nothing_is_no_verdict(texts: list[str]) -> None:
    found = dkim(*texts, selector=None, at="google")
    assert (found.valid, code(found)) == (None, "dkim_selector_unknown")
