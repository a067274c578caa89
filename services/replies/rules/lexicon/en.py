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
    unsubscribe_whole=r"""
        (?:please )?(?:stop|unsubscribe|remove|opt[- ]?out|delete)(?: me)?(?: please| now| thanks| thank you| all)?
        stop (?:it|this|e-?mails?)|no more e-?mails?(?: please)?|remove from (?:the |your )?list|take me off
        """,
    unsubscribe=r"""
        unsubscribe (?:me|us|this|my)|(?:please|kindly|to|how do i|want to|like to) unsubscribe|opt me out
        (?:want|like|wish) to opt[- ]out
        (?:remove|delete|take|drop) (?:\w+ ){1,4}(?:off|from|out of) (?:\w+ ){0,3}(?:lists?|database|mailings?|crm)
        (?:remove|delete|take|drop) (?:\w+ ){1,4}(?:off|from|out of) (?:\w+ ){0,3}(?:e-?mails?|correspondence|contacts?)
        (?:remove|delete) (?:me|us)(?: please)?(?: immediately| now| at once)?$
        (?:delete|erase) (?:all )?my (?:\w+ )?(?:data|details|information)
        (?:stop|quit|cease) (?:\w+ )?(?:e-?mailing|mailing|contacting|spamming|messaging|writing|sending)
        (?:do not|don't|never|not to) (?:e-?mail|contact|write(?: to)?|message|mail|spam) (?:me|us)
        (?:do not|don't|not) (?:want|wish)(?: to (?:get|receive|hear))? (?:\w+ ){0,3}(?:e-?mails?|messages?|mailings?)
        leave me alone|(?:no|any) (?:more|further) (?:e-?mails?|messages?|mailings?|contact)
        never (?:e-?mail|contact|write)
        """,
    declines=r"""
        no,? thanks?(?: you)?|no,? thank you|nope|no interest
        (?:i'll|i will|we'll|we will|going to|have to|please|gonna) pass(?! (?:this|it|your|that|along|on to|them))
        (?:we're|we are|i'm|i am) (?:all )?(?:set|good|covered|sorted|happy with)|all set
        already (?:have|use|using|work|working|got|covered|with)|not (?:a )?(?:good |right |great )?(?:fit|match)
        not (?:for (?:us|me)|at this (?:time|point|stage)|now|right now|the right (?:time|fit))
        (?:isn't|is not|aren't|won't be) (?:a )?(?:\w+ )?(?:fit|match|priority|relevant|something|of interest)
        (?:isn't|is not|aren't|won't be) (?:\w+ )?for (?:us|me)
        not (?:currently )?(?:a )?priority|no need|no budget|(?:don't|do not) see (?:a|the|any) (?:fit|need|value)
        not my (?:cup|thing)|(?:uninterested|not keen)|have to decline|(?:must|will|respectfully) decline
        not going to (?:work|happen)|no (?:time|use) for
        """,
    negators=r"not|no|never|n't|isn't|aren't|don't|doesn't|won't|wouldn't|am not|cannot|can't|nor",
    wanted=r"interest(?:ed)?|needs?|needed|relevant|fit|looking|in the market|require|keen|want",
    meeting=r"""
        (?:book|schedule|set ?up|arrange|organi[sz]e|plan|have|do) (?:\w+ ){0,3}(?:call|meeting|demo|chat|time|slot)
        (?:jump on|hop on|happy to|up for|let's do) (?:\w+ ){0,3}(?:call|meeting|demo|chat|slot|zoom)
        (?:are|would) you (?:be )?(?:free|available)|(?:i'm|i am|we are|we're) (?:free|available)|my calendar
        calendly\.com|cal\.com/|calendar link|pick a (?:time|slot)|(?:call|ring|phone) me
        give me a (?:call|ring|buzz)|let's (?:meet|speak|talk|connect|chat) (?:on|at|next|tomorrow|this)
        (?:does|how about|what about|would)(?: \w+){0,4} (?:mon|tues|wednes|thurs|fri)day
        (?:mon|tues|wednes|thurs|fri)day (?:at|works|morning|afternoon)
        (?:tomorrow|today) (?:at|works|morning|afternoon)|(?:a|quick|short|brief) (?:call|demo|chat|meeting)
        (?:see|get) (?:a|the) demo|available (?:on|at|next|tomorrow|this)
        """,
    interested=r"""
        interested
        (?:tell|send|share|give) (?:me|us|over)(?: \w+){0,3} (?:more|details?|info|information|pricing|prices)
        (?:send|share|give) (?:me|us|over)(?: \w+){0,3} (?:deck|brochure|materials?|proposal|overview)
        send (?:more|details?|info|information|pricing|over|it|them)|more (?:info|information|details)
        sounds (?:good|great|interesting|perfect|like)|let's (?:talk|do it|go|chat|discuss)
        (?:i'd|i would|we'd|we would) (?:love|like) to (?:know|learn|hear|see|discuss|explore)
        looks? (?:interesting|great|promising)|(?:love|happy) to (?:hear|learn|chat|talk|discuss)|count me in
        curious|sign me up|keen|intrigued|yes please|learn more|worth (?:a|exploring)|good timing|perfect timing
        """,
    question=r"""
        how (?:much|many|long|does|do)|what(?:'s| is| are| does| do| would)|which|who(?:'s| is| are)|where|why
        prices?|pricing|costs?
        """,
)
