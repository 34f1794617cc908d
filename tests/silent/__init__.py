"""The proof that no failure of the system itself stays silent. `make test-silent` runs it."""
