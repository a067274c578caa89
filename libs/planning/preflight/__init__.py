"""What would go wrong with a campaign, before it starts.

Queries reads it, check looks at it, trial writes its mails for real leads, findings says what and how to mend it.
"""
