"""The proof against real servers: WordPress on MariaDB and PHP, an SMTP server. `make test-real` runs it."""
