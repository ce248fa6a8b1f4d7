"""Every setting once, with its unit, its range and its reason."""

from early_experience.config.choices import check_choice as check_choice
from early_experience.config.default import default as default
from early_experience.config.parts import (
  budget as budget,
)
from early_experience.config.parts import (
  endpoint as endpoint,
)
from early_experience.config.parts import (
  model as model,
)
from early_experience.config.parts import (
  rl as rl,
)
from early_experience.config.parts import (
  stage as stage,
)
