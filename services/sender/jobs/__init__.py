"""What the clock starts in the sender.

send    claim what is due, pass its gates, render, deliver, settle
plan    start scheduled campaigns, enrol, give slots, plan late ones anew, complete campaigns
mend    take back what dead workers left, settle unknown ends, tell deliveries
breakers  turn those whose pause is over
"""
