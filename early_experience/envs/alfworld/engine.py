"""A game in play: commands in, text out."""

from collections.abc import Hashable
from typing import Self

from early_experience.envs.alfworld import wording
from early_experience.envs.alfworld.rules import Rules, State


class Engine:
  """A game being played.

  Attributes:
    rules: the game, shared by all clones.
    state: where it stands.
  """

  __slots__ = ('rules', 'state', '_actions')

  def __init__(self, rules: Rules, state: State | None = None):
    self.rules = rules
    self.state = rules.start if state is None else state
    self._actions = None

  def clone(self) -> Self:
    """An independent copy in the same state."""
    other = type(self)(self.rules, self.state)
    other._actions = self._actions
    return other

  def admissible(self) -> tuple[str, ...]:
    """All commands possible now, sorted."""
    return tuple(sorted(self._possible()))

  def step(self, command: str) -> tuple[str, bool]:
    """Executes a command; returns its text and whether it was possible."""
    action = self._possible().get(command)
    if action is None:
      return wording.NOTHING, False
    state, text = self.rules.apply(self.state, action)
    if state is not self.state:
      self.state, self._actions = state, None
    return text, True

  def fingerprint(self) -> Hashable:
    """Equal for equal states."""
    return tuple(
      frozenset(value.items()) if isinstance(value, dict) else value
      for value in self.state
    )

  def won(self) -> bool:
    return self.rules.won(self.state)

  def _possible(self):
    if self._actions is None:
      self._actions = self.rules.actions(self.state)
    return self._actions
