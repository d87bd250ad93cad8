"""Files to objects and back; the only room that opens files."""
