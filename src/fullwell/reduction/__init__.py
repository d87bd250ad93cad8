"""ISR: a recipe on a frame."""
