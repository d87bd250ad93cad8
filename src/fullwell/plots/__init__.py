"""One file per figure: object in, Matplotlib figure out."""
