"""When mail may go: windows in a zone's own hours, people's zones, days off. Never decides in UTC."""
