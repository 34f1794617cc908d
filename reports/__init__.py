"""F3: weekly report. Queries to numbers to document."""
