"""Moved to early_experience.language.model."""

from early_experience.language.model import LanguageModel as Endpoint
from early_experience.language.model import identity

__all__ = ['Endpoint', 'identity']
