"""Recipients' mail domains: which part of an address that is, and which domains belong to no one company.

Never looks anything up.
"""

# Mail for everybody: two people there have nothing to do with each other, so no limit of a company's domain applies.
FREEMAIL = frozenset(
    (
        *("gmail.com", "googlemail.com"),
        *("outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.de", "outlook.fr", "outlook.es", "outlook.it"),
        *("hotmail.co.uk", "hotmail.fr", "hotmail.de", "hotmail.it", "hotmail.es", "live.co.uk", "live.fr", "live.nl"),
        *("yahoo.com", "yahoo.co.uk", "yahoo.fr", "yahoo.de", "yahoo.it", "yahoo.es", "yahoo.ca", "yahoo.co.in"),
        *("yahoo.co.jp", "yahoo.com.br", "ymail.com", "rocketmail.com", "aol.com", "aol.de"),
        *("icloud.com", "me.com", "mac.com"),
        *("gmx.de", "gmx.net", "gmx.at", "gmx.ch", "gmx.com", "web.de", "t-online.de", "freenet.de", "mail.de"),
        *("proton.me", "protonmail.com", "pm.me", "tutanota.com", "tuta.com", "fastmail.com", "hey.com", "zoho.com"),
        *("orange.fr", "wanadoo.fr", "free.fr", "sfr.fr", "laposte.net"),
        *("libero.it", "virgilio.it", "tiscali.it", "alice.it"),
        *("btinternet.com", "sky.com", "virginmedia.com", "ntlworld.com", "talktalk.net"),
        *("comcast.net", "verizon.net", "att.net", "sbcglobal.net", "bellsouth.net", "cox.net", "charter.net"),
        *("mail.ru", "yandex.ru", "yandex.com", "rambler.ru", "bk.ru", "list.ru", "inbox.ru", "ukr.net"),
        *("qq.com", "163.com", "126.com", "sina.com", "naver.com", "hanmail.net", "daum.net"),
        *("uol.com.br", "bol.com.br", "terra.com.br", "wp.pl", "o2.pl", "onet.pl", "interia.pl", "seznam.cz"),
        *("bluewin.ch", "ziggo.nl", "kpnmail.nl", "telenet.be", "skynet.be", "telia.com", "rediffmail.com"),
        *("mail.com", "email.com", "inbox.com"),
    )
)


def domain_of(address: str) -> str:
    """The address's domain in lower case; empty when it has none."""
    return address.rpartition("@")[2].lower()


def company_domain(address: str) -> str | None:
    """The domain when it is one company's; None for freemail."""
    domain = domain_of(address)
    return None if not domain or domain in FREEMAIL else domain
