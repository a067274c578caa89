"""How servers word a refusal, by our reasons for it: families of wordings in many languages.

Data and the patterns made of them; what they mean for an address, refusal.py decides.
"""

import re

from services.replies.rules.folding import alternatives

# Whose absence makes an address dead, in the words of servers.
_SOMEBODY = (
    r"(?:user|recipient|mail ?box|account|address|addressee|alias|rcpt|login|member|subscriber|spectator|email name)"
)
# Read from the top: the first family whose words occur decides. What names the sender comes before what names the
# recipient ("domain of sender address … does not exist"), exact words before vague ones ("mailbox unavailable").
# Words of other languages stand behind the English ones; all are compared without diacritics.
_EXACT = (
    (
        "sender_rejected",
        r"""
        sender.{0,20}(?:reject|denied|block|invalid)|(?:domain|address) of (?:the )?sender|sender domain
        envelope sender|\bbatv\b|(?:invalid|bad|null|empty|unrout\w+|unresolvable|forged) sender
        mail from domain.{0,40}(?:invalid|exist|resolve)
        sender verif|from:? domain is invalid|valid from:|sender (?:is )?(?:not|un)|backscatter|third-party dsn
        sender(?:'s)? address.{0,20}(?:exist|unknown|not (?:found|(?:a )?valid))|mail from.{0,20}not owned|banned sender
        \bdsns? (?:for|not)|emetteur invalide|adresse (?:de l'|d')?expediteur
        (?:absender|expediteur|remitente|mittente).{0,30}(?:abgelehnt|gesperrt|unbekannt|inconnu|refuse|desconoc|sconosc)
        """,
    ),
    (
        "authentication",
        r"""
        dmarc|\bspf\b|\bdkim\b(?!-signature)|authentication (?:checks?|required|credential)|unauthenticated
        not authenticated|authrequired|requires? authentication|authenticated senders|sender id\b
        """,
    ),
    (
        "relay_denied",
        r"""
        relay(?:ing)?(?: access)? (?:is )?(?:denied|prohibited|not permitted|not allowed)
        (?:unable|not configured|not permitted|not allowed) to relay|(?:don't|do not|cannot|won't|no) relay|relaying
        not a(?:n open)? relay|mail relay|email address is not verified
        (?:is )?not (?:one of )?(?:my|our) (?:local )?(?:domains?|hosts?)|not in my rcpthosts
        isn't in my.{0,40}rcpthosts
        """,
    ),
    (
        "mailbox_full",
        r"""
        quota|mail ?box (?:is |was |size )?(?:full|exceed|limit)|mail ?box.{0,40}\bfull\b|full mail ?box
        mailfolder is full|out of storage|insufficient (?:disk|system|mailbox)? ?(?:storage|space)
        not (?:have )?enough (?:disk |storage )?space|storage (?:limit|exceed|alloc)|maximum.{0,30}storage|too much mail
        size of user's mailbox|inbox (?:is )?full|disk full|space has been used up|exceeding receiving limits
        too many messages on the server|zu ?viele mails|(?:postfach|speicher|konto).{0,40}(?:voll|erschopft)
        boite.{0,40}(?:pleine|saturee)|(?:buzon|casilla|mailbox).{0,40}llen[oa]|casella.{0,40}piena|caixa.{0,40}cheia
        (?:postvak|postbus|mailbox).{0,30}\bvol\b|skrzynk\w{1,4}.{0,40}pe[ln]|przepelnion|ящик.{0,40}(?:полон|полн)
        schrank\w{1,3}.{0,40}pln|용량.{0,10}초과|(?:邮箱|信箱|郵箱).{0,10}(?:满|滿)|(?:メールボックス|容量).{0,20}(?:いっぱい|超)
        """,
    ),
    (
        "reputation",
        r"""
        \bptr\b|reverse dns|\brdns\b|too many (?:unknown|invalid|failed|bad|non)
        (?:invalid|bad|wrong) (?:helo|ehlo)|(?:helo|ehlo) (?:command|name|argument|host|invalid)
        """,
    ),
    (
        "filtered",
        r"""
        only accepting mail from|not accepting (?:any )?mail (?:from|with)|is not accepting any|recipient preferences
        blocked by the recipient|restricted sms|account is protected|user reject|refuses? to receive|bounced address
        notauthori[sz]ed|recipient refuses|mail filtered|user's rule|user-defined
        not a (?:member|subscriber) of|(?:members|subscribers) (?:only|may)|only (?:members|subscribers)
        """,
    ),
    (
        "no_mail_host",
        r"""
        no mx (?:record|host|found)|(?:host|domain|server) (?:does|do) not accept (?:any )?(?:e-?)?mail(?! from| with)
        null ?mx|no smtp service
        indicated no smtp|domain does not receive
        """,
    ),
    (
        "network",
        r"""
        host not found,? try again|malformed.{0,20}name server
        """,
    ),
    (
        "host_unknown",
        r"""
        host (?:or domain name )?(?:is )?(?:unknown|not found)|unknown (?:mail )?(?:host|domain)
        no such (?:host|domain)|invalid domain|domain (?:name )?(?:does not exist|not found|is invalid|not exist)
        (?:dns|recipient|mail) domain.{0,80}(?:not exist|unknown)|domain must exist|nxdomain
        non[- ]?exist\w{2,4} ?domain
        unrouteable (?:mail )?(?:domain|address)|illegal host|name or service not known|no mail hosts? for
        bad destination (?:system|host)|non-existent hosts?|all relevant mx records
        name server: host not found|couldn't find any host|no mail server|host lookup did not complete
        all host address lookups failed|no dns entr|domain.{0,60}not (?:appear to be )?registered
        domain.{0,60}n(?:o|')t be found|domain.{0,30}(?:unbekannt|existiert nicht)
        dominio.{0,30}(?:no existe|inexistente|inesistente)
        """,
    ),
    (
        "moved",
        r"""
        not our (?:user|customer)|no longer (?:on server|with|at|here|works|valid|in use|available|employed|accepts?|a )
        no longer hosted|has moved|(?:user|employee|person) (?:has )?left|recipient (?:has )?moved
        address (?:has )?changed|has been replaced by|(?:account|mail ?box) (?:closed|terminated|deleted|removed)
        (?:account|mail ?box|user).{0,40}(?:been|was|is) (?:closed|terminated|deleted|removed|moved)
        """,
    ),
    (
        "user_unknown",
        rf"""
        unknown (?:local|e?mail(?! transport)|in\b|or illegal|(?:\w+ )?{_SOMEBODY})
        {_SOMEBODY}(?: (?:is |was )?unknown| (?:syntax )?invalid|.{{0,60}}(?:is invalid|non-?existent|missing home))
        {_SOMEBODY}.{{0,60}}(?:not|n't|nt) (?:be )?(?:exist|found|recogni[sz]ed|known|listed|present|valid|registered)
        no such (?:{_SOMEBODY}|person|e?mail|local|id\b|name)|no mail ?box|no account|non[- ]?exist\w{{2,4}} {_SOMEBODY}
        (?:not|n't) an? (?:valid|known|active|existing|registered)? ?(?:local )?{_SOMEBODY}
        not (?:an )?e-?mail addresses|(?:doesn't|does not|do not|don't) have an? .{{0,80}}(?:account|mailbox|user)
        not local|is wrong or no longer
        (?:invalid|bad|wrong|incorrect)[ -](?:{_SOMEBODY}|e-?mail|local|final|virtual)|address invalid
        (?:recip|recipient|user|address) ?not ?found|nosuchuser|badrcptto|badrecipientto|validrcptto
        recipient (?:name )?(?:is )?not(?! (?:accepting|authori))|no valid recipient|rejected recipients
        recipient.{{0,20}}(?:verification failed|cannot be verified)|recipient address is not a valid
        (?:can't|cannot|n't|unable to) (?:find|locate) (?:an? |the |your )?{_SOMEBODY}|can't accept (?:user|account)
        no (?:user|recipient|person) (?:found|by|here|with)|(?:address|mail ?box|account).{{0,20}} not in use
        mail ?box missing|access denied.{{0,40}}5\.4\.1|5\.4\.1.{{0,80}}access denied
        recipient address rejected: access denied|unable to (?:validate|verify) recipient|undeliverable address
        recipients was undeliverable|envelope recipient has been denied|(?:no ?(?:one|body)|none) (?:at|by|with) th
        recipient address.{{0,20}}unknown|not (?:listed |present )?in .{{0,30}}directory|in name directory
        user not active|not user of|unavailable (?:mail )?user|mail ?box name not allowed
        mailbox is inactive|inactive email address|account unavailable
        """,
    ),
)
# "User unknown" in de, fr, es and pt, it, nl, pl, cs, sv and da, tr and fi, ru, ja, zh and ko. The verb alone says so
# behind a code only: a group that "does not exist or is closed to you" is nobody's mailbox.
_UNKNOWN_ELSEWHERE = alternatives(
    r"""
    unbekannt|existiert nicht|nicht (?:gefunden|vorhanden|bekannt)|ungultig|inconnue?\b|introuvable|n'existe pas
    inexistant|invalide|non repertorie|desconhecid|desconocid|inexistente|n[ao]o? existe
    n[ao]o? (?:fue |foi )?encontrad|sconosciut|inesistente|non (?:esiste|valid|trovat|e stat\w trovat)|nessun utente
    necunoscut|onbekend|bestaat niet|niet (?:worden )?gevonden|ongeldig|nie istnieje|nieznan|nie ma takiego|brak takie
    nie (?:zostal\w* )?znalezion|neexistuj|neznam|nenalezen|nebyl\w? nalezen|(?:okand|ukendt|ukjent)\b|finns inte
    findes ikke|finnes ikke|ikke (?:fundet|funnet)|bulunama|bilinmeyen|ei loydy|tuntematon
    не существует|нет такого|неизвест|не (?:наиден|зарегистр)|存在しな|存在しま|見つかりま|不明|登録されてい?ま
    不存在|未找到|找不到|无效|無效|존재하지 않|찾을 수 없|없는 (?:사용자|계정|주소)
    """
)
_SOMEBODY_ELSEWHERE = alternatives(
    r"""
    empfanger|benutzer|postfach|adresse|konto|destinat|utilisateur|boite|usuari|direccion|cuenta|endereco|utente
    casella|indirizzo|ontvanger|gebruiker|adresu?\b|odbiorc|uzytkownik|adresat|skrzynk|uzivatel|prijemc|schrank
    mottagar|modtager|utilizator|mottaker|postadress|alici|kullanici|adresi|vastaanottaja
    получател|пользовател|адрес|ящик|宛先|ユーザ|アドレス|用户|用戶|收件人|邮箱|地址|사용자|계정|주소|수신자
    """
)
# The same the other way round: "unbekannter Empfänger", "no se encontró la dirección".
_MISSED_ELSEWHERE = alternatives(
    r"""
    (?:unbekannt|onbekend|nieznan|neznam|неизвестн|несуществующ)\w{0,3}|okand|ukendt|ukjent|bilinmeyen|tuntematon
    (?:no se|nao se|nao) (?:ha |foi )?(?:pudo |possivel )?(?:encontr|localiz)\w{1,4}.{0,8}
    (?:impossibile trovare|impossible de trouver).{0,8}|(?:hitta|finde|finne).{0,12}|(?:odnalezc|znalezc).{0,24}
    не (?:наиден|удалось наити).{0,8}|找不到.{0,8}|존재하지 않는
    """
)
ELSEWHERE = re.compile(_UNKNOWN_ELSEWHERE)
SPELT_OUT = re.compile(
    f"(?:{_SOMEBODY_ELSEWHERE}).{{0,60}}(?:{_UNKNOWN_ELSEWHERE})|(?:{_MISSED_ELSEWHERE}) ?(?:{_SOMEBODY_ELSEWHERE})"
)
_GENERAL = (
    (
        "expired",
        r"""
        message expired|expired|in the queue too long|retry time|retry timeout|delivery time|too long
        not delivered within|timed? ?out|timeout|failed \d+ attempts|no response|not responding|queue period
        did(?:n't| not) respond|retried for|delayed|has not yet been delivered|still being retried|aborted after
        did not accept our requests to connect|unable to connect|maximum delivery attempts
        """,
    ),
    (
        "too_big",
        r"""
        too (?:big|large)|size ?(?:exceed|limit)|exceeds?.{0,40}(?:size|length)|message (?:size|length)
        maximum (?:message|size)|message file too|zu gross|trop volumineux|demasiado grande|troppo grande
        """,
    ),
    (
        "greylisted",
        r"""
        gr[ea]y-?list|try again (?:in|after) \d|please retry
        """,
    ),
    (
        "rate_limited",
        r"""
        too many (?!hops)|rate limit|limit exceeded|throttl|excessive|unusual(?:ly)?.{0,20}rate|connection limit
        concurren|connection rate|too fast|receiving mail (?:at a rate|too)|sending limit
        temporarily deferred due to unexpected volume|exceeded.{0,30}(?:hour|limit|rate)
        """,
    ),
    (
        "reputation",
        r"""
        black-? ?list|block-? ?list|\brbls?\b|dnsbl|spamhaus|spamcop|\bsbl\b|\bxbl\b|barracuda|reputation|blocked
        \bbanned\b|open (?:relay|proxy)|client host rejected|ip address.{0,40}(?:reject|refus|block|list)|invalid ip
        access from|no access from|dynamic ip|use the smtp server of your isp|blocked using|proofpoint
        not accepted from|accepting mail from your ip|\blisted (?:by|in|on|at)\b|resolve your address
        """,
    ),
    (
        "spam",
        r"""
        spam|junk|unsolicited|bulk e?-?mail|mass mail|phish
        """,
    ),
    (
        "content",
        r"""
        virus|malware|content|duplicate header|8-?bit|improper|attachment|mime|media error|malformed|not rfc
        rfc ?\d{3,4}|multiple addresses|multiple.{0,20}from|header|line too long|hop count|mail loop|loop detected
        too many hops|message looping|forwarding loop|bare (?:lf|cr)|virusdetected
        """,
    ),
    (
        "policy",
        r"""
        policy|policies|not allowed|not permitted|prohibit|denied|restricted|not authori[sz]ed|permission
        refused by|message rejected|mail rejected|administrative|e?mail reject|rejet|security|encryption
        does not support tls|requires? tls|must issue a starttls|cannot accept|not accept(?:ed)?|only accepts
        abgelehnt|rechazad|rifiutat|rejeitad|geweigerd|odrzucon|отклонен
        """,
    ),
    (
        "mailbox_disabled",
        r"""
        disabled|suspend|inactiv|frozen|deactivated|locked|discontinued|dormant|not active|temporarily unavailable
        on hold|archive
        """,
    ),
    (
        "network",
        r"""
        no route|network|loops? back to|connection (?:refused|reset|lost|closed|dropped|died)|lost connection|connect to
        unreachable|dns (?:query|error|fail|lookup)|routing|resolve route|socket error|gateway|host is down
        not reachable
        """,
    ),
    (
        "system",
        r"""
        system (?:error|failure|problem|resource)|internal|local error|i/o error
        resources? (?:temporarily )?unavailable|temporary (?:failure|local)|service (?:un|not )available|mailer
        \bpipe\b|command (?:died|failed|not)|protocol error|config|transaction failed|try again later
        service currently
        """,
    ),
)
# What is said of anything that was refused: a permanent refusal of the recipient where nothing says more.
VAGUE = re.compile(
    alternatives(
        r"""
    mail ?box.{0,20}(?:un|not )ava|recipient address rejected|do(?:es|s)?(?:n't|'t| not)? exist|> not found
    (?:recipient|rcpt|address).{0,20}(?:reject|refus)|(?:cannot|can't|unable to) (?:verify|resolve) (?:user|recipient)
    unknown(?! (?:error|reason|failure|problem|cause|command|status))
    """
    )
)
EXACT, GENERAL = (
    tuple((reason, re.compile(alternatives(wordings))) for reason, wordings in families)
    for families in (_EXACT, _GENERAL)
)
