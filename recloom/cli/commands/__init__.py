"""One module for each kind of command; importing them registers the commands."""
