"""The words by which replies are understood, one file a language; data only: they never decide, the rules do."""

import msgspec


class Lexicon(msgspec.Struct, frozen=True, kw_only=True):
    """One language's wordings: blocks of alternatives for `wording.any_of`, matched as whole words in any case."""

    # Automatic mail.
    absence_subject: str  # a subject that begins so is an absence note
    absence: str  # the writer says that he is away
    absence_note: str  # what only an absence note says beside that
    automatic: str  # any other machine's mail says so
    return_cue: str  # the day of return follows
    until_cue: str  # the last day of absence follows
    months: str  # twelve, in their order, each with its short forms joined by bars

    # What a person wants.
    unsubscribe_whole: str  # a whole text of these words
    unsubscribe: str
    declines: str
    negators: str  # up to three words before `wanted`
    wanted: str
    meeting: str
    interested: str
    question: str  # a sentence that begins so is a question
