"""Builders and small clients the tests share."""
