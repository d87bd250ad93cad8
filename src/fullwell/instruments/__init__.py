"""Instruments as data folders: geometry, header map, recipe; and how to read any header."""
