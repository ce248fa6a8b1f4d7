"""Every setting once, with its unit, its range and its reason."""

from early_experience.config.checked import checked, settled
from early_experience.config.choices import check_choice
from early_experience.config.default import default
from early_experience.config.parts import (
  OBJECTIVES,
  budget,
  define_endpoint,
  define_model,
  endpoint,
  model,
  stage,
)
from early_experience.config.reads import absent, answers, reads
from early_experience.config.rules import check

__all__ = [
  'OBJECTIVES',
  'absent',
  'answers',
  'budget',
  'check',
  'check_choice',
  'checked',
  'default',
  'define_endpoint',
  'define_model',
  'endpoint',
  'model',
  'reads',
  'settled',
  'stage',
]
