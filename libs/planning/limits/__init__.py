"""How much may go: an inbox's budget of a day, what it and its team have sent and promised, companies' domains."""
