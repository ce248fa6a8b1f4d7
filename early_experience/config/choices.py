"""What a setting may be."""

from early_experience.runtime.errors import UserError


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> str:
  """Returns the value.

  Raises:
    UserError: it is none of the choices; the message names the key and them.
  """
  if value not in choices:
    raise UserError(
      f'config.{key} is {value!r}, not one of: {", ".join(choices)}'
    )
  return value
