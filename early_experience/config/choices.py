"""What a setting of an environment, or of a file, may be."""

from early_experience.config.rules import among


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> str:
  """Returns the value.

  Raises:
    UserError: it is none of the choices; the message names the key and them.
  """
  return among(choices)(f'config.{key}', value)
