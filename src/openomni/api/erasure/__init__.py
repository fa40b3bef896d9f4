"""Erasing what somebody said or showed, for good. It stands above all apps whose tables hold it."""
