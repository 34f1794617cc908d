"""The proof that nothing is lost or doubled when the product is killed. `make test-kill` runs it."""
