"""One file per measurement: frames in, product out."""
