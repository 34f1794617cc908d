"""An invented day of an invented Jinan, served on loopback, and the product running through it."""
