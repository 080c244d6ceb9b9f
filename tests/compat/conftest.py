"""Fixtures of the appliance in memory."""

from ..appliance.test_in_memory import settings

__all__ = ["settings"]
