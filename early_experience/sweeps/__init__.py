"""Many runs of one config: `product`, `zipped` and `chain` say which."""

from early_experience.sweeps.overrides import (
  chain as chain,
)
from early_experience.sweeps.overrides import (
  name_of as name_of,
)
from early_experience.sweeps.overrides import (
  product as product,
)
from early_experience.sweeps.overrides import (
  zipped as zipped,
)
