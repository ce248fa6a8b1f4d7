"""Every setting once, with its unit, its range and its reason."""

from early_experience.config.checked import checked as checked
from early_experience.config.checked import settled as settled
from early_experience.config.choices import check_choice as check_choice
from early_experience.config.default import default as default
from early_experience.config.parts import (
  OBJECTIVES as OBJECTIVES,
)
from early_experience.config.parts import (
  budget as budget,
)
from early_experience.config.parts import (
  define_endpoint as define_endpoint,
)
from early_experience.config.parts import (
  define_model as define_model,
)
from early_experience.config.parts import (
  endpoint as endpoint,
)
from early_experience.config.parts import (
  model as model,
)
from early_experience.config.parts import (
  stage as stage,
)
from early_experience.config.reads import absent as absent
from early_experience.config.reads import answers as answers
from early_experience.config.reads import reads as reads
from early_experience.config.rules import check as check
