"""Rationales: who writes them, and what they must not say."""
