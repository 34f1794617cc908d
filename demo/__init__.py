"""F4: an invented day of an invented Jinan, served over loopback, to see the whole chain work."""
