"""One command a file, each with the attribute `command`."""
