"""The one exception that a user is meant to read."""


class UserError(Exception):
  """Bad input. The message alone says what is wrong, where, and what to do."""


def need_extra(module: str, extra: str) -> UserError:
  """The error for an optional package that is not installed."""
  return UserError(
    f'{module} is not installed; run: pip install "early_experience[{extra}]"'
  )
