"""The response engine against an oracle of its own: any commands, any waits, any faults, and what must hold after each."""
