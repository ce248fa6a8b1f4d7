"""Many runs of one config: `product`, `zipped` and `chain` say which."""

from early_experience.sweeps.overrides import chain, name_of, product, zipped

__all__ = ['chain', 'name_of', 'product', 'zipped']
