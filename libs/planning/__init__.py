"""What is decided about campaign mail: whether, when, from where, with which words, and if not, why not.

The sender acts on it, the API explains and simulates with it: one set of functions, so what is said is what happens.

facts      what a decision rests on, as values; queries reads them and is the only file here that reads
sequence   steps, variants, and which of them a lead gets; where a lead stands in a newer version
conditions whether a step's mail goes, or the lead is moved past it, elsewhere, or out
windows    when mail may go, in a zone's own hours
gates      every reason why a mail may not go, in one ordered list
schedule   the planner: the one second at which each due mail goes
spintax    which of a template's choices a lead reads; links: where a text's links lead
render     a template and a lead's values become subject and bodies
letter     one step's mail to one lead
round      one planning round: due leads in, slots, holds and ends out
seed       numbers that look like chance and never change

All but queries is pure: values in, values out. Never writes a row, never sends.
"""
