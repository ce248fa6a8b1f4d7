"""Scripted experts: they read what an agent reads."""

TRAIN = ('click-button',)
UNSEEN = ()
EXPERTS = {}
