"""What a sending domain's DNS must say, and whether it does: SPF, DKIM and DMARC as their receivers read them. Pure.

The three checks ask by yielding questions (`found.Check`), so whoever drives them decides how name servers are asked,
and a test answers from a dict.

Our own, and not checkdmarc (libraries.md §1): that one is synchronous, takes 1.6 s to import and knows no DKIM; what it
warns of is prose, without codes that a program could act on; and neither the resolver nor its limits would be ours.
"""
