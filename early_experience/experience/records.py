"""Trajectory records: expert steps with what other actions led to.

A record is the trunk of an experience tree with its branches: at every expert
state the alternatives that were executed and what the environment answered,
and the rationales that compare them (arXiv 2510.08558, section 4). It holds
enough to rebuild every dataset of the paper without the environment.
"""

import dataclasses
import types
import typing
from collections.abc import Collection, Iterator

from early_experience.runtime import files
from early_experience.runtime.errors import UserError

SCHEMA = 1
STEM = 'trajectories'
# Who proposes alternatives, in the order in which a mix asks: models' ideas
# first, and what they leave open is filled from the admissible list.
MODELS = ('policy', 'openai')
LISTED = ('recalled', 'uniform', 'exhaustive')
PROPOSERS = (*MODELS, *LISTED)
EXPERT = 'expert'  # proposes what it would do, where somebody else acts


@dataclasses.dataclass(frozen=True)
class Alternative:
  """An action other than the one taken, executed in the same state.

  Attributes:
    action: canonical text of the action.
    observation: what the environment answered.
    done: whether the episode ended with it.
    valid: False where the environment rejected the action.
    proposer: one of `PROPOSERS`, or several of them joined by `+`; or `EXPERT`.
    summary: of the answer, where `summarise` wrote one: what the world model
      learns to predict in its place.
    rejoins: whether what the expert did from here on, done after this one,
      still ends as it ended: proven by the environment. Then the expert's
      action is right behind this one too. None where nobody tried.
  """

  action: str
  observation: str
  done: bool
  valid: bool
  proposer: str
  summary: str | None = None
  rejoins: bool | None = None

  def is_by(self, names: Collection[str]) -> bool:
    """Whether one of these proposed it."""
    return not set(names).isdisjoint(self.proposer.split('+'))

  @property
  def told(self) -> str:
    """The answer, or its summary."""
    return self.observation if self.summary is None else self.summary


@dataclasses.dataclass(frozen=True)
class Rationale:
  """Why the expert's action is better, in the agent's own words.

  Attributes:
    text: the inner monologue, without the action.
    compared: actions of the alternatives it weighed.
    writer: `grounded`, or the language model and prompt version.
  """

  text: str
  compared: tuple[str, ...]
  writer: str


@dataclasses.dataclass(frozen=True)
class Step:
  """One decision: the expert's, or a policy's for which the expert was asked.

  Attributes:
    observation: what the agent saw before acting.
    action: what was done.
    thought: the expert's own thought, where it left one.
    admissible: all actions that the environment would accept, where it lists
      them.
    alternatives: empty until `explore`.
    rationales: empty until `reflect`.
    summary: of what the action led to, as an alternative has it.
    advice: what the expert would do, where a policy acted. None: it acted.
  """

  observation: str
  action: str
  thought: str | None = None
  admissible: tuple[str, ...] | None = None
  alternatives: tuple[Alternative, ...] = ()
  rationales: tuple[Rationale, ...] = ()
  summary: str | None = None
  advice: str | None = None

  @property
  def expert_action(self) -> str:
    """What is right here: to imitate."""
    return self.action if self.advice is None else self.advice

  @property
  def tried(self) -> dict[str, None]:
    """The actions whose outcomes are known."""
    return dict.fromkeys([self.action, *(a.action for a in self.alternatives)])


@dataclasses.dataclass(frozen=True)
class Trajectory:
  """One episode and its branches: an expert's, or a policy's of its own.

  Attributes:
    environment: name of the environment.
    source: where its games come from; printed by reports.
    task_id: names the task within the environment.
    split: `train` or a test split.
    task_type: the environment's own kind of task; reports group by it.
    instruction: what the agent is asked to do.
    steps: in order; each step's observation is the previous action's outcome.
    final_observation: outcome of the last action.
    success: by the environment's own measure.
    score: likewise, in [0, 1].
    expert: who acted, or was asked.
    schema: version of this format.
  """

  environment: str
  source: str
  task_id: str
  split: str
  task_type: str
  instruction: str
  steps: tuple[Step, ...]
  final_observation: str
  success: bool
  score: float
  expert: str
  schema: int = SCHEMA

  @property
  def by_expert(self) -> bool:
    """Whether the expert itself acted."""
    return all(step.advice is None for step in self.steps)

  def outcome(self, index: int) -> str:
    """What the expert's action at step `index` led to."""
    if index + 1 < len(self.steps):
      return self.steps[index + 1].observation
    return self.final_observation

  def told(self, index: int) -> str:
    """The outcome of the expert's action at step `index`, or its summary."""
    summary = self.steps[index].summary
    return self.outcome(index) if summary is None else summary


def to_json(trajectory: Trajectory) -> dict:
  """The record as JSON values; `from_json` is its inverse."""
  return _plain(trajectory)


def _plain(value):
  # dataclasses.asdict would copy every string, deeply.
  if isinstance(value, tuple):
    return [_plain(item) for item in value]
  if dataclasses.is_dataclass(value):
    return {name: _plain(item) for name, item in vars(value).items()}
  return value


def from_json(value: object, where: str) -> Trajectory:
  """Builds a record, checking every field.

  Args:
    value: a decoded JSON object.
    where: file and line, for the error.

  Raises:
    UserError: a field is missing, unknown or of another type, or the schema
      is another version's; the message names the field and `where`.
  """
  if isinstance(value, dict) and value.get('schema', SCHEMA) != SCHEMA:
    raise UserError(
      f'{where}: schema {value["schema"]!r}, this version reads {SCHEMA}'
    )
  trajectory = _build(Trajectory, value, where, 'trajectory')
  if not trajectory.steps:
    raise UserError(f'{where}: trajectory.steps is empty')
  return trajectory


def read(folder) -> Iterator[Trajectory]:
  """Reads all trajectories of a stage's folder, in order.

  Raises:
    UserError: there are none, one is damaged, or a task appears twice.
  """
  seen = set()
  for where, value in files.read_jsonl(folder, STEM):
    trajectory = from_json(value, where)
    if trajectory.task_id in seen:
      raise UserError(f'{where}: task {trajectory.task_id} appears twice')
    seen.add(trajectory.task_id)
    yield trajectory
  if not seen:
    raise UserError(f'no trajectories in {folder}')


def _build(kind, value, where, path):
  """Checks a decoded JSON value against a type annotation."""
  if dataclasses.is_dataclass(kind):
    if not isinstance(value, dict):
      raise UserError(f'{where}: {path} is not an object')
    hints = _hints(kind)
    for name in value.keys() - hints.keys():
      raise UserError(f'{where}: {path} has an unknown field {name!r}')
    for field in dataclasses.fields(kind):
      if field.default is dataclasses.MISSING and field.name not in value:
        raise UserError(f'{where}: {path}.{field.name} is missing')
    return kind(
      **{
        name: _build(hints[name], item, where, f'{path}.{name}')
        for name, item in value.items()
      }
    )
  if typing.get_origin(kind) is types.UnionType:
    if value is None:
      return None
    (kind,) = (k for k in typing.get_args(kind) if k is not types.NoneType)
    return _build(kind, value, where, path)
  if typing.get_origin(kind) is tuple:
    if not isinstance(value, list):
      raise UserError(f'{where}: {path} is not a list')
    item_kind = typing.get_args(kind)[0]
    return tuple(
      _build(item_kind, item, where, f'{path}[{i}]')
      for i, item in enumerate(value)
    )
  if kind is float and type(value) is int:
    value = float(value)
  if type(value) is not kind:
    raise UserError(
      f'{where}: {path} is {type(value).__name__}, not {kind.__name__}'
    )
  return value


_HINTS: dict[type, dict] = {}


def _hints(kind):
  if kind not in _HINTS:
    _HINTS[kind] = typing.get_type_hints(kind)
  return _HINTS[kind]
