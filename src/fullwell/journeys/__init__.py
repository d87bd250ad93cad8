"""What joins the rest: the demo, the reduction of a folder."""
