"""What the clock starts in replies.

poll      ask the mailboxes, store what is new
fetch     the part of it that gets messages out of a server, whatever one of them does to it
sort      say once what each stored message is: copy in Sent, report, complaint, own mail
answer    the part of sort that deals with people's and machines' answers
matching  the part of it that looks for the email which is answered
commands  what people ask for: assign
"""
