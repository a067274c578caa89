"""How Coldstream is run: command line, local stack, image and chart; must never hold a rule of the platform."""
