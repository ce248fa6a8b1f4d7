"""WebArena-Lite on a user's own servers, through BrowserGym."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Generator, Hashable, Sequence

from early_experience.envs.demonstrations import Demonstrations
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.web import actions, page
from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError

# The benchmark's tasks, and those of it that are for tests, corrected.
ALL_FILE, LITE_FILE = 'test.raw.json', 'test_webarena_lite.raw.json'
SITES = ('SHOPPING', 'SHOPPING_ADMIN', 'REDDIT', 'GITLAB', 'WIKIPEDIA', 'MAP')
SUBSETS = ('chat', 'nav', 'tab', 'bid')  # of BrowserGym's actions
_SCROLL = 600  # pixels


class WebArena(Environment):
  """Errands on copies of a shop, its back office, a forum, GitLab, a map.

  The 812 tasks of WebArena without those that WebArena-Lite tests on are
  `train`; its 165 are `seen` where `train` has another task made from the same
  template, else `unseen`, which is out of domain: errands of a kind that
  training never shows (arXiv 2510.08558, appendix B.8, reports the 165).

  What an agent changes on the servers stays changed: reset them before the
  tasks that need it, and expect trajectories that change them not to replay.
  """

  name = 'webarena'
  splits = ('train', 'seen', 'unseen')
  licence = 'Apache-2.0'
  needs = ('browsergym',)
  install = (
    "pip install 'early_experience[webarena]' && pip install --no-deps"
    ' browsergym-webarena==0.14.3 libwebarena==0.0.4 text-generation==0.7.0'
    ' && playwright install chromium'
  )
  branching = 'replay'
  expert_name = 'demonstrations'
  paths = ('data', 'demonstrations')

  def __init__(self, *, data: str = '', demonstrations: str = ''):
    """Reads the tasks.

    Args:
      data: folder with the task files of WebArena and of WebArena-Lite.
      demonstrations: JSONL of an agent's runs to learn from, see
        envs/demonstrations.py; '' = there is no expert.

    Raises:
      UserError: a file is missing or malformed, or the servers' addresses are.
    """
    self._rows = read_tasks(pathlib.Path(data))
    self._expert = None
    if demonstrations:
      key = 'env.kwargs.demonstrations'
      rows = itertools.chain(*self._rows.values())
      known = {str(original(row)) for row in rows}
      self._expert = Demonstrations(demonstrations, key, known)
    version = importlib.metadata.version('browsergym-core')
    self.source = f'WebArena-Lite in {data}, browsergym {version}'
    self._browser = None
    self.prepare()

  def prepare(self) -> None:
    """Checks that the servers are named, and the benchmark is installed.

    Raises:
      UserError: one is not.
    """
    if importlib.util.find_spec('browsergym.webarena') is None:
      raise UserError(
        f'environment webarena needs browsergym.webarena; run: {self.install}'
      )
    for site in (*SITES, 'HOMEPAGE'):
      if not os.environ.get(f'WA_{site}'):
        raise UserError(
          f'environment webarena: set WA_{site} to the address of your server'
        )

  def entry(self, row: dict) -> Callable:
    """What makes BrowserGym's task of a row of the task files."""
    # Downloads a tokenizer of nltk where it is missing.
    from browsergym.webarena.task import GenericWebArenaTask

    class LiteTask(GenericWebArenaTask):
      """With the row's own goal and checks, which WebArena-Lite corrected."""

      def __init__(self, seed):
        super().__init__(seed, task_id=original(row))
        text = json.dumps(row)
        for site in SITES:
          text = text.replace(
            f'__{site}__', self.webarena_instance.urls[site.lower()]
          )
        self.task_configs = [json.loads(text)]

    return LiteTask

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    return [
      Task(str(original(row)), split, '-'.join(row['sites']))
      for row in self._rows[split]
    ]

  def reset(self, task: Task) -> Turn:
    row = next(r for r in self._rows[task.split] if str(original(r)) == task.id)
    self._task, self._done_so_far = task, ()
    with self._fresh_after_failure():
      if self._browser is None:
        self._browser = _browser()
      self._browser.task_entrypoint = self.entry(row)
      observation, _ = self._browser.reset(seed=0)
    self.instruction = observation['goal']
    return self._turn(observation)

  def step(self, action: str) -> Turn:
    try:
      known = actions.parse(action)
      code = written(known)
      self._check(known)
    except actions.ActionError as error:
      return Turn(f'Not possible: {error}.\n{self._text}', valid=False)
    self._done_so_far += (code,)
    with self._fresh_after_failure():
      observation, reward, done, _, _ = self._browser.step(code)
    turn = self._turn(observation, done, float(reward))
    if fault := observation['last_action_error']:
      said = f'Not possible: {fault.splitlines()[0]}\n{turn.observation}'
      return Turn(said, turn.done, turn.success, turn.score, valid=False)
    return turn

  def canonical(self, action: str) -> str:
    return actions.canonical(action)

  def admissible(self) -> tuple[str, ...]:
    """Clicks and choices; what can be typed is open."""
    return page.possible(self._nodes, ())

  def fingerprint(self) -> Hashable:
    # Of this session: what was done determines it as far as any replay can.
    return self._task.id, self._done_so_far

  def close(self) -> None:
    if self._browser is not None:
      self._browser.close()
      self._browser = None

  def expert(self, turn: Turn) -> Generator[str, Turn, None] | None:
    return self._expert and self._expert.play(self._task.id, turn)

  @contextlib.contextmanager
  def _fresh_after_failure(self):
    """Another browser for the next task, where this one fails."""
    from playwright.sync_api import Error

    try:
      yield
    except Exception as error:
      with contextlib.suppress(Exception):
        self._browser.close()
      self._browser = None
      if isinstance(error, Error) and "Executable doesn't" in str(error):
        raise UserError(
          'environment webarena: no browser; run: playwright install chromium'
        ) from None
      raise

  def _check(self, action):
    """Refuses what would only wait for an element in vain."""
    kinds = actions.FORMS[action.name]
    for arg, kind in zip(action.args, kinds, strict=True):
      if kind == 'id' and action.name != 'tab_focus' and arg not in self._ids:
        raise actions.ActionError(f'there is no element {arg}')

  def _turn(self, observation, done=False, score=0.0):
    extra = observation['extra_element_properties']

    def clickable(node):
      return extra.get(node.get('browsergym_id'), {}).get('clickable', False)

    tree = observation['axtree_object']['nodes']
    self._ids = {node.get('browsergym_id') for node in tree}
    self._nodes = page.read(
      tree,
      lambda node: node.get('browsergym_id', ''),
      clickable,
    )
    tabs = observation['open_pages_titles']
    now = int(observation['active_page_index'][0])
    lines = [f'url {observation["url"]}']
    if len(tabs) > 1:
      lines += [
        f'tab {i} {json.dumps(title)}{" (here)" if i == now else ""}'
        for i, title in enumerate(tabs)
      ]
    self._text = '\n'.join([*lines, page.text(self._nodes)])
    return Turn(self._text, done, score >= 1, max(0.0, min(1.0, score)))


def read_tasks(folder: pathlib.Path) -> dict[str, list[dict]]:
  """The rows of the task files by split.

  Raises:
    UserError: a file is missing, is no JSON, or a row lacks what a task has.
  """
  rows, tests = (_rows(folder / name) for name in (ALL_FILE, LITE_FILE))
  tested = {original(row) for row in tests}
  train = [row for row in rows if original(row) not in tested]
  templates = {row['intent_template_id'] for row in train}
  splits = {'train': train, 'seen': [], 'unseen': []}
  for row in tests:
    known = row['intent_template_id'] in templates
    splits['seen' if known else 'unseen'].append(row)
  return splits


def original(row: dict) -> int:
  """A task's number in WebArena; WebArena-Lite counts anew."""
  return row.get('old_task_id', row['task_id'])


def written(action: actions.Action) -> str:
  """An action as BrowserGym's own action set reads it."""
  calls = {
    'type': ('fill', action.args),
    'select': ('select_option', action.args),
    'drag': ('drag_and_drop', action.args),
    'wait': ('noop', ()),
    'answer': ('send_msg_to_user', action.args),
    'scroll': ('scroll', (0, -_SCROLL if 'up' in action.args else _SCROLL)),
  }
  name, args = calls.get(action.name, (action.name, action.args))
  if name == 'tab_focus':
    if not args[0].isdigit():
      raise actions.ActionError(f'tab_focus takes a number, not {args[0]}')
    args = (int(args[0]),)
  return f'{name}({", ".join(map(repr, args))})'


def _browser():
  from browsergym.core.action.highlevel import HighLevelActionSet
  from browsergym.core.env import BrowserEnv

  # The action set parses calls of known functions with literal arguments, and
  # is only ever given those of `written`.
  known = HighLevelActionSet(subsets=SUBSETS)
  return BrowserEnv(
    functools.partial(dict), action_mapping=known.to_python_code
  )


def _rows(path):
  try:
    rows = json_text.parse(path.read_bytes(), once=False)
  except OSError:
    raise UserError(
      f'env.kwargs.data: no {path}; it needs {ALL_FILE} (web-arena-x/webarena,'
      f' config_files) and {LITE_FILE} (THUDM/VisualAgentBench,'
      ' VAB-WebArena-Lite/new)'
    ) from None
  except ValueError as error:
    raise UserError(f'env.kwargs.data: {path} is not JSON: {error}') from None
  for row in rows if isinstance(rows, list) else [None]:
    missing = {'task_id', 'sites', 'intent_template_id'} - set(row or ())
    if missing:
      raise UserError(f'env.kwargs.data: {path}: a task has no {min(missing)}')
  return rows
