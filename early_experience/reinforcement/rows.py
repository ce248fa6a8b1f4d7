"""Episodes to rows: the decisions of a group as one tree.

A decision is a sequence: what was read, then what was sampled. Where what was
sampled is what stands in the history afterwards, the next decision goes on from
it, so that an episode is a path and a group is a tree; nothing is lost where it
is not. All that a policy's loss needs of a token are sums over the sequences
through it, so they are columns of weights like any other: merging adds them,
windows repeat a path without them.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from early_experience.experience import render, tree
from early_experience.experience import rows as rows_lib
from early_experience.tokenizers.interface import Tokenizer

_OBJECTIVES = len(render.OBJECTIVES)
# What follows the objectives' columns: `surrogate.COLUMNS`, and what all
# sequences through a token agree on, to be divided by their count. Then, where
# members of a group are told apart, who it was, and everyone's advantage.
_GAIN, _LOSS, _COUNT, _LOGP, _CHOICE, _GROUP = range(
  _OBJECTIVES, _OBJECTIVES + 6
)
_MEMBERS = _OBJECTIVES + 6
# Of log-probabilities of one token under one policy, which differ by rounding.
_AGREE = 0.25
_ALLOWED = 16  # ids are padded to a multiple, so that few shapes are compiled


@dataclasses.dataclass(frozen=True)
class Made:
  """Rows of some groups, and what was counted.

  Attributes:
    rows: as `experience.rows` has them, with `policy` [T, P], `sampled` [T],
      the log-probability that each token was sampled with, and where choices
      were constrained `allowed` [T, A]; where members are told apart `group`
      [T], `member` [T, M] and `advantage` [T, M].
    flat_tokens: of the sequences, none of which begins another.
    tree_tokens: of the trees.
    packed_tokens: of the trees, with what windows repeat.
    overlong: sequences of observations that are longer than a row.
  """

  rows: list[rows_lib.Row]
  flat_tokens: int
  tree_tokens: int
  packed_tokens: int
  overlong: int


def make(
  groups: Iterable[Sequence[tuple[dict, np.ndarray | None]]],
  coder: Tokenizer,
  row_tokens: int,
  layout: str = 'tree',
  observations: bool = False,
  members: int = 0,
) -> Made:
  """Rows of all that the groups have sampled.

  Args:
    groups: of `advantages.Groups`; of an episode without advantages there are
      the observations alone.
    coder: the tokenizer they were sampled with.
    row_tokens: of a row; at least the longest path.
    layout: `tree`, or `flat`, where each sequence has a row's part of its own.
    observations: score what the environment answered for `world_model`.
    members: of a group, where they are told apart; else 0.
  """
  choices: list[tuple[int, ...]] = [()]  # the first one is no constraint
  parts, flat, merged, overlong = [], 0, 0, 0
  for number, group in enumerate(groups):
    sequences = _Sequences(choices, number, members)
    for record, values in group:
      if values is not None:
        _add_decisions(sequences, record, values, coder)
      if observations:
        overlong += _add_observations(sequences, record, coder, row_tokens)
    for some in sequences.agreeing:
      some = tree.absorb(some)
      trees = tree.merge(some)
      flat += sum(len(s.ids_T) for s in some)
      merged += sum(map(len, trees))
      if layout == 'flat':
        parts += map(tree.flat, some)
      else:
        parts += [w for t in trees for w in tree.windows(t, row_tokens)]
  packed = rows_lib.pack(parts, row_tokens)
  allowed_SA = _padded(choices)
  return Made(
    [_policy_row(row, allowed_SA, members) for row in packed],
    flat,
    merged,
    sum(map(len, parts)),
    overlong,
  )


class _Sequences:
  """Sequences of a group, in sets within which every token agrees.

  An environment may list other actions after the same history; episodes may
  come from more policies than one. Such sequences share nothing.
  """

  def __init__(self, choices, group: int = 0, members: int = 0):
    self._group, self._members = group, members
    self.agreeing: list[list[tree.Sequence]] = [[]]
    self._known: list[dict] = [{}]  # of each set, by place
    self._choices = choices
    self._number = {ids: i for i, ids in enumerate(choices)}

  def add_said(
    self, prompt: list[int], said: dict, value: float, member: int = 0
  ) -> None:
    """Adds a turn that a member sampled after a prompt, with its advantage."""
    ids, logps = said['ids'], said['logps']
    allowed = said.get('allowed') or [[]] * len(ids)
    numbers = [self._numbered(tuple(some)) for some in allowed]
    facts = list(zip(logps, numbers, strict=True))
    weights_TC = self._columns(len(prompt) + len(ids))
    for t, (logp, number) in enumerate(facts, start=len(prompt)):
      if logp:  # else nothing else could be said
        gain, loss = max(value, 0), max(-value, 0)
        facts_C = gain, loss, 1, logp, number, self._group
        weights_TC[t, _GAIN:_MEMBERS] = facts_C
        if self._members:
          own = [_MEMBERS + member, _MEMBERS + self._members + member]
          weights_TC[t, own] = 1, value
    sequence = tree.Sequence(np.array(prompt + ids, np.int32), weights_TC)
    read = sequence.ids_T[: len(prompt)].tobytes()
    places = [(read, *ids[: i + 1]) for i in range(len(ids))]
    agrees = lambda known: all(
      map(_agree, map(known.get, places, facts), facts)
    )
    index = next((i for i, k in enumerate(self._known) if agrees(k)), None)
    if index is None:
      index = len(self._known)
      self._known.append({})
      self.agreeing.append([])
    self._known[index].update(zip(places, facts, strict=True))
    self.agreeing[index].append(sequence)

  def add(self, sequence: tree.Sequence) -> None:
    """Adds a sequence of which nothing was sampled."""
    weights_TC = self._columns(len(sequence.ids_T))
    weights_TC[:, :_OBJECTIVES] = sequence.weights_TO
    self.agreeing[0].append(tree.Sequence(sequence.ids_T, weights_TC))

  def _columns(self, length):
    return np.zeros((length, _MEMBERS + 2 * self._members), np.float32)

  def _numbered(self, ids):
    if ids not in self._number:
      self._number[ids] = len(self._choices)
      self._choices.append(ids)
    return self._number[ids]


def _agree(known, fact):
  return abs(known[0] - fact[0]) < _AGREE and known[1] == fact[1]


def _add_decisions(sequences, record, values, coder):
  for step, past, value in zip(
    record['steps'], _pasts(record), values, strict=True
  ):
    for said in step['said']:
      prompt = coder.encode_prompt(past, said['role'])
      sequences.add_said(prompt, said, value, record['member'])
      if said['role'] == 'thought':
        past = (*past, render.Turn('thought', step['thought']))


def _pasts(record):
  """The turns before each decision; a question's are in its record."""
  if 'script' in record:
    pasts = [tuple(render.Turn(*turn) for turn in record['script'])]
  else:
    pasts = [_opening(record)]
    for step, after in zip(record['steps'], _outcomes(record), strict=True):
      pasts.append(pasts[-1] + render.exchange(step['action'], after))
  return pasts[: len(record['steps'])]


def _add_observations(sequences, record, coder, row_tokens):
  """What each action led to, as a world model learns it; counts overlong."""
  script = _opening(record)
  for step, after in zip(record['steps'], _outcomes(record), strict=True):
    script += render.exchange(step['action'], after, 'world_model')
  made = coder.encode_script(script)
  fits = [s for s in made if len(s.ids_T) <= row_tokens]
  for sequence in fits:
    sequences.add(sequence)
  return len(made) - len(fits)


def _opening(record):
  first = [step['observation'] for step in record['steps'][:1]]
  observation = first[0] if first else record['final_observation']
  return render.opening(record['instruction'], observation)


def _outcomes(record):
  """What followed each step."""
  after = [step['observation'] for step in record['steps'][1:]]
  return [*after, record['final_observation']][: len(record['steps'])]


def _padded(choices):
  """The ids of each set [S, A], -1 for no more; None where none is limited."""
  most = max(map(len, choices))
  if not most:
    return None
  width = -(-most // _ALLOWED) * _ALLOWED
  allowed_SA = np.full((len(choices), width), -1, np.int32)
  for ids_A, ids in zip(allowed_SA, choices, strict=True):
    ids_A[: len(ids)] = ids
  return allowed_SA


def _policy_row(row, allowed_SA, members):
  """The columns of a row by their names."""
  row, columns_TC = dict(row), row['weights']
  each_T = np.maximum(columns_TC[:, _COUNT], 1)
  row['weights'] = columns_TC[:, :_OBJECTIVES]
  row['policy'] = columns_TC[:, [_GAIN, _LOSS, _COUNT]]
  row['sampled'] = columns_TC[:, _LOGP] / each_T
  if allowed_SA is not None:
    number_T = np.rint(columns_TC[:, _CHOICE] / each_T).astype(np.int32)
    row['allowed'] = allowed_SA[number_T]
  if members:
    group_T = np.rint(columns_TC[:, _GROUP] / each_T).astype(np.int32)
    row['group'] = group_T
    member_TM, advantage_TM = np.split(columns_TC[:, _MEMBERS:], 2, axis=1)
    row |= {'member': member_TM, 'advantage': advantage_TM}
  return row
