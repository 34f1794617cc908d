"""F1: the incident database. The only folder that speaks SQL."""
