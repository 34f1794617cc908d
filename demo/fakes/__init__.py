"""Faithful fakes of the services that carry messages: the demo shows them, tests switch their moods."""
