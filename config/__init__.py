"""F0: everything an operator may change. Imports nothing of ours."""
