"""English."""

from services.replies.rules.lexicon import Lexicon

ENGLISH = Lexicon(
    absence_subject=r"""
        automatic reply|auto(?:matic)?[- ]?(?:reply|response|responder)|out of (?:the )?office|ooo\b|away from
        on (?:annual )?leave|vacation|on vacation|on holiday|away (?:until|till)|i am (?:away|out)|absence
        """,
    absence=r"""
        out of (?:the )?(?:office|town|country)|(?:on|taking) (?:\w+ )?(?:leave|vacation|holidays?|pto|sabbatical)
        away from (?:my|the) \w+|(?:am|'m|be|currently) (?:\w+ )?(?:away|travell?ing|unavailable|out)
        not in the office|back in the office|no access to (?:my )?e-?mails?
        """,
    absence_note=r"""
        (?:when|once|after|upon|as soon as) (?:i (?:am |get )?(?:back|return)|my return|i'm back)
        limited (?:access|availability|e-?mail)
        (?:urgent|immediate|emergency) (?:matters?|assistance|cases?|help|requests?|issues?|enquir\w+|inquir\w+)
        if (?:it|this|your).{0,40}urgent|automat(?:ic|ed) (?:reply|response|message)
        (?:will|may) (?:be )?(?:delay\w*|slow)|(?:please )?contact my colleague
        (?:e-?mails?|messages?) (?:will|are) not (?:be )?(?:read|forwarded|monitored)|return(?:ing)? on
        be back (?:on|in)
        """,
    automatic=r"""
        this is an auto(?:mated|matic|-generated)|automated (?:message|response|reply|e-?mail|notification)
        auto-?generated|(?:do not|don't) reply to this
        (?:we have|we've) received your (?:e-?mail|message|request|enquiry|inquiry)|ticket (?:number|id|#|has been)
        your (?:request|ticket|case|enquiry|inquiry) (?:has been|was) (?:received|created|logged)
        case (?:number|id|#)|(?:mailbox|inbox|address) is not monitored
        (?:is |am )?no longer (?:with|employed|works?|working|at)|has left (?:the )?(?:company|organi[sz]ation)
        confirm (?:that )?you are (?:a )?human
        """,
    return_cue=r"(?:back|return(?:ing)?|available|reachable|resume)(?: \w+){0,4}? (?:on|from|by)|back|return(?:ing)?",
    until_cue=r"until|till|through|thru|to|up to and including|ending|[-\u2013]",
    months="""
        january|jan, february|feb, march|mar, april|apr, may, june|jun, july|jul, august|aug, september|sept|sep,
        october|oct, november|nov, december|dec
        """,
)
