"""The HTTP API below /api: the same rows as the pages, for scripts. Codes stay English."""
