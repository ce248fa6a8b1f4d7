"""Environments behind one small interface, one folder or file each."""
