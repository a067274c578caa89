"""What is decided about campaign mail: whether, when, from where, with which words, and if not, why not.

The sender acts on it, the API explains and simulates with it: one set of functions, so what is said is what happens.

facts      what a decision rests on, as values; queries reads them, and only files of that name read
sequence   steps, variants, and which of them a lead gets; where a lead stands in a newer version
conditions whether a step's mail goes, or the lead is moved past it, elsewhere, or out
settings   what teams and campaigns have set; nonsense means the default
windows    when mail may go, in a zone's own hours; zones: whose zone is known, and from where; holidays
gates      every reason why a mail may not go, in one ordered list
budget     how much an inbox may send on a day: ramp and health; domains: which recipients are one company
diary      what inboxes and team have sent and promised, and what each limit leaves of it
schedule   the planner: the one second at which each due mail goes; choice: from which inbox
spintax    which of a template's choices a lead reads; links: where a text's links lead
render     a template and a lead's values become subject and bodies
letter     one step's mail to one lead; rehearsal: whether it could be written
round      one planning round: due leads in, slots, holds and ends out
explain    why one lead is mailed, or not, or when: case is what is known of it, past how that was, sayings the words
simulate   a campaign's whole run by the same rounds on a virtual clock, over ground; outlook: what it says
preflight  what would go wrong with a campaign, as findings; trial: its steps written for its real leads
seed       numbers that look like chance and never change

All but the queries is pure: values in, values out. Never writes a row, never sends.
"""
