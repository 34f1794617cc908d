"""F4: what commands do that is more than one call; cli.py registers them and prints."""
