"""Scenes to raw frames through the physical order, with truth."""
