"""The orders of steps, as tuples, and the check of an order."""
