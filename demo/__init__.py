"""The demo: the whole chain on one embedded brain, and the report it leaves behind."""
