"""One file per physical effect, with its physics note and both directions."""
