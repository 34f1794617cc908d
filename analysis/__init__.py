"""F2: judge. Text in, judgement out; only job.py touches the database."""
