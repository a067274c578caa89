"""What is decided about campaign mail: whether, when, from where, with which words, and if not, why not.

The sender acts on it, the API explains and simulates with it: one set of functions, so what is said is what happens.

facts       what a decision rests on, as values; queries reads them, and only files of that name read
round       one planning round: due leads in, slots, holds and ends out
gates       every reason why a mail may not go, in one ordered list
schedule    the planner: the one second at which each due mail goes; choice: from which inbox
sequence    steps, variants, and which of them a lead gets; where a lead stands in a newer version
conditions  whether a step's mail goes, or the lead is moved past it, elsewhere, or out
settings    what teams and campaigns have set; nonsense means the default
seed        numbers that look like chance and never change
hours/      when: windows in a zone's own hours, whose zone is known and from where, days off
limits/     how much: ramp and health, what inboxes and team have sent and promised, companies' domains
words/      what: spintax, templates, links, one step's letter to one lead, and whether it could be written
explain/    why one lead is mailed, or not, or when: now, then, later
simulate/   a campaign's whole run by the same rounds on a virtual clock
preflight/  what would go wrong with a campaign, before it starts

All but the queries is pure: values in, values out. Never writes a row, never sends.
"""
