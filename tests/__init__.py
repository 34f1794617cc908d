"""Tests. Fakes ship with the code, only loopback may be reached, time is passed in."""
