"""What a message is and means: pure decisions, bytes and values in, values out."""
