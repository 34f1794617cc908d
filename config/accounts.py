"""Roles of the people who work with the console; which of them may do what stands in console/rights.py."""

from __future__ import annotations

ROLES = ("duty", "analyst", "department", "supervisor", "leader", "administrator", "auditor")
