"""What a mail says: templates and a lead's values become a letter, the same one for the same lead and step for ever."""
