"""One BFCL conversation: its simulators, its turns and the official checks."""

import copy
import datetime
import functools
import importlib
import inspect
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Self

from early_experience.envs.bfcl import calls

_PACKAGE = 'bfcl_eval'
_FAILED = 'Error during execution: '
_ADDRESS = re.compile(r' at 0x[0-9a-f]+')
_FIELDS = 'Invalid fields for update: '  # are joined from a set


class Episode:
  """A conversation under way.

  Args:
    entry: a line of the benchmark's question files, with `ground_truth` from
      its answer files.

  Attributes:
    gold: the official calls of each turn.
    done: there is no further request.
    success: whether all turns so far are as the official checker wants them.
  """

  def __init__(self, entry: Mapping):
    self._entry = entry
    self.gold = entry['ground_truth']
    self.done, self.success = False, True
    self._simulators = _load(entry)
    self._answers = _play(_load(entry), self.gold)
    self._limit = _constants('default_prompts').MAXIMUM_STEP_LIMIT
    self._turn = self._steps = 0
    self._called = False  # anything, in this turn
    self._outputs = []  # of all calls so far

  def instruction(self) -> str:
    """The official system prompt, with the functions that there are at first.

    The benchmark says of some functions that they are excluded; no prompt
    offers them. The simulators have them all, as they have in its harness.
    """
    prompts = _constants('default_prompts')
    style = prompts.PROMPT_STYLE_TEMPLATES['classic']
    hidden = set(self._entry.get('excluded_function', ()))
    hidden.update(*self._entry.get('missed_function', {}).values())
    docs = [doc for name, doc in self._docs().items() if name not in hidden]
    return prompts.PROMPT_TEMPLATE_MAPPING['plaintext'].format(
      persona=style['persona'],
      task=style['task'],
      tool_call_format=style['tool_call_no_tag'].format(
        output_format=prompts.OUTPUT_FORMAT_MAPPING['python'],
        param_types=prompts.PARAM_TYPE_MAPPING['python'],
      ),
      multiturn_behavior=style['multiturn_behavior'],
      available_tools=style['available_tools'].format(
        format='json', functions='\n'.join(docs)
      ),
    )

  def request(self) -> str:
    """What the user says in this turn; where it is nothing, new functions."""
    messages = self._entry['question'][self._turn]
    if messages:
      return '\n'.join(message['content'] for message in messages)
    docs = self._docs()
    names = self._entry['missed_function'][str(self._turn)]
    prompts = _constants('default_prompts')
    return prompts.DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_PROMPTING.format(
      functions='\n'.join(docs[name] for name in names)
    )

  def call(self, found: Sequence[calls.Call]) -> tuple[str, bool]:
    """Executes calls, each whatever the others did.

    Returns:
      What they returned, and whether any of them was accepted.
    """
    outputs, accepted = zip(
      *(_execute(call, self._simulators) for call in found), strict=True
    )
    self._called = True
    self._outputs = [*self._outputs, *outputs]
    self._step()
    return '\n'.join(outputs), any(accepted)

  def refuse(self, reason: str) -> str:
    """Answers what cannot be read as calls; it counts as a step."""
    self._step()
    return f'{_FAILED}{reason}'

  def end_turn(self) -> None:
    """Checks the turn, as the official `multi_turn_checker` does at its end."""
    gold = self.gold[self._turn]
    if gold:
      states, outputs = self._answers[self._turn]
      self.success = (
        self.success
        and self._called
        and _passes(
          self._simulators, states, self._outputs, outputs, self._turn
        )
      )
    self._turn += 1
    self._steps, self._called = 0, False
    self.done = self._turn == len(self.gold)

  def gold_actions(self) -> list[list[str]]:
    """The gold calls of each turn, as actions: one call where steps allow."""
    turns = []
    for gold in self.gold:
      size = -(-len(gold) // self._limit) or 1
      turns.append(
        [
          f'[{", ".join(gold[start : start + size])}]'
          for start in range(0, len(gold), size)
        ]
      )
    return turns

  def clone(self) -> Self:
    """A copy that shares only what no call changes."""
    other = copy.copy(self)
    other._simulators = _copy(self._simulators)
    return other

  def _step(self):
    self._steps += 1
    if self._steps > self._limit:  # the harness breaks off
      last = self._turn + 1 == len(self.gold)
      self.end_turn()
      self.success = self.success and last
      self.done = True

  def _docs(self):
    return {
      name: doc
      for kind in self._entry['involved_classes']
      for name, doc in _docs(kind).items()
    }


@functools.cache
def entries(category: str) -> tuple[dict, ...]:
  """The tasks of a category in the benchmark's order, with their answers."""
  name = f'BFCL_v4_multi_turn_{category}.json'
  answers = {
    line['id']: line['ground_truth'] for line in _lines('possible_answer', name)
  }
  return tuple(
    {**line, 'ground_truth': answers[line['id']]} for line in _lines(name)
  )


@functools.cache
def parameters() -> dict[str, tuple[str, ...]]:
  """The parameters of every function of the simulators, in their order."""
  return {
    name: names
    for kind in _constants('executable_backend_config').CLASS_FILE_PATH_MAPPING
    if not kind.startswith(('Memory', 'WebSearch'))  # of other categories
    for name, names in _functions(kind).items()
  }


class _Clock(datetime.datetime):
  """A clock that stands, so that nobody comes of age between two runs."""

  @classmethod
  def today(cls):
    return cls(2024, 9, 1)  # as the trading simulator has it


def _load(entry):
  config = _constants('executable_backend_config')
  long_context = 'long_context' in entry['id']
  simulators = {}
  for name in entry['involved_classes']:
    simulator = _kind(name)()
    if name not in config.STATELESS_CLASSES:
      scenario = copy.deepcopy(entry['initial_config'].get(name, {}))
      simulator._load_scenario(scenario, long_context=long_context)
    simulators[name] = simulator
  # Some scenarios hold records of the module itself, which calls then change.
  return _copy(simulators)


def _play(simulators, gold):
  """States and outputs at the end of each turn of gold calls."""
  answers = []
  for turn in gold:
    outputs = [_execute(calls.read(text)[0], simulators)[0] for text in turn]
    answers.append((_copy(simulators) if turn else None, outputs))
  return answers


def _copy(simulators):
  """A deep copy. Dice have hundreds of numbers, none of which ever changes."""
  dice = [getattr(s, '_random', None) for s in simulators.values()]
  return copy.deepcopy(simulators, {id(die): copy.copy(die) for die in dice})


def _execute(call, simulators):
  """What a call gives, as the official harness words it; whether it worked."""
  try:
    result = _method(call.name, simulators)(*call.args, **call.kwargs)
    error = result.get('error') if isinstance(result, dict) else None
    if isinstance(error, str) and error.startswith(_FIELDS):
      fields = sorted(error.removeprefix(_FIELDS).split(', '))
      result = {**result, 'error': _FIELDS + ', '.join(fields)}
    return _ADDRESS.sub('', _text(result)), error is None
  except Exception as error:  # of the simulator; a number of too many digits
    return _ADDRESS.sub('', f'{_FAILED}{error}'), False


def _method(name, simulators):
  for kind, simulator in simulators.items():
    if name in _functions(kind):
      return getattr(simulator, name)
  raise NameError(f"name '{name}' is not defined")


@functools.cache
def _functions(kind):
  return {
    name: tuple(inspect.signature(function).parameters)[1:]
    for name, function in inspect.getmembers(_kind(kind), inspect.isfunction)
    if not name.startswith('_')
  }


def _text(result):
  if isinstance(result, dict):
    try:
      return json.dumps(result)
    except (TypeError, ValueError, RecursionError):
      pass
  return str(result)


def _passes(states, gold_states, outputs, gold_outputs, turn):
  checker = importlib.import_module(
    f'{_PACKAGE}.eval_checker.multi_turn_eval.multi_turn_checker'
  )
  return (
    checker.state_checker(states, gold_states)['valid']
    and checker.response_checker(outputs, gold_outputs, turn)['valid']
  )


def _kind(name):
  path = _constants('executable_backend_config').CLASS_FILE_PATH_MAPPING[name]
  module = importlib.import_module(path)
  if name == 'TravelAPI':
    module.datetime = _Clock
  return getattr(module, name)


@functools.cache
def _docs(kind):
  files = _constants(
    'executable_backend_config'
  ).MULTI_TURN_FUNC_DOC_FILE_MAPPING
  return {
    doc['name']: json.dumps(doc)
    for doc in _lines('multi_turn_func_doc', files[kind])
  }


def _lines(*path):
  root = (
    pathlib.Path(importlib.import_module(_PACKAGE).__file__).parent / 'data'
  )
  text = root.joinpath(*path).read_text('utf-8')
  return [json.loads(line) for line in text.split('\n') if line.strip()]


def _constants(name):
  return importlib.import_module(f'{_PACKAGE}.constants.{name}')
