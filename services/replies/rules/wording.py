"""How lists of wordings are written and read: one block of alternatives, over as many lines as it needs."""

import re


def any_of(block: str, *, words: bool = False) -> re.Pattern[str]:
    """A pattern that finds any of the block's alternatives in any case; `words`: only where no letter touches them.

    Alternatives are separated by bars or by line ends; blanks around a line do not count.
    """
    lines = (line.strip().strip("|") for line in block.strip().splitlines())
    alternatives = "|".join(line for line in lines if line)
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)" if words else alternatives, re.IGNORECASE)
