"""Array maths, compiled; knows NumPy only: no frames, no files, no settings."""
