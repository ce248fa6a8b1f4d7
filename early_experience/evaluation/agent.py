"""A model that acts: a decision is a pure function of the turns shown."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from early_experience.decoding import decode
from early_experience.decoding.contexts import Contexts
from early_experience.evaluation import written
from early_experience.evaluation.decisions import Decision, Request, Said
from early_experience.experience import render
from early_experience.model import config as model_config
from early_experience.tokenizers.interface import Tokenizer
from early_experience.work import units
from early_experience.work.units import Failure

# Share of the slots that must be read before any is answered: generating takes
# as long for one as for all, so few should wait for another turn.
_PATIENCE = 0.5


@dataclasses.dataclass(frozen=True)
class Decoding:
  """How text is generated. `config.evaluate` says what each setting means."""

  seed: int = 0
  temperature: float = 0.0
  constrained: bool = False
  think: bool = False
  max_action_tokens: int = 32
  max_thought_tokens: int = 128

  @classmethod
  def of(cls, how: ConfigDict, seed: int | str, **changes) -> 'Decoding':
    """As `config.evaluate` says, but for the changes."""
    names = {field.name for field in dataclasses.fields(cls)} - {'seed'}
    values = {name: how[name] for name in names} | changes
    return cls(seed=seed, **values | {'think': bool(values['think'])})


class Agent:
  """A policy of `rollouts` and a proposer of actions.

  Args:
    params: of the model.
    cfg: of the model. `max_tokens` bounds a context, answer included.
    tokenizer: of the model.
    mesh: that holds the parameters.
    decoding: how it acts.
    slots: episodes side by side; rounded up to what the mesh divides.
  """

  def __init__(
    self,
    params: dict,
    cfg: model_config.ModelConfig,
    tokenizer: Tokenizer,
    mesh: jax.sharding.Mesh,
    decoding: Decoding,
    slots: int,
  ):
    self.params, self.cfg, self.tokenizer = params, cfg, tokenizer
    self.mesh, self._decoding = mesh, decoding
    self.lists = decoding.constrained
    with jax.set_mesh(mesh):
      self._contexts = Contexts(params, cfg, tokenizer, mesh, slots)

  def act(
    self, requests: Sequence[Request | None]
  ) -> list[Decision | Failure | None]:
    """Decides for every slot whose context is read by now.

    A slot that has much to read (an episode's opening) may be answered None
    while others go on; it is to be asked again. It fails where its texts cannot
    be written down for the model; or where actions are constrained, and its
    state lists none, or one that is longer than `max_action_tokens`.
    """
    how, contexts = self._decoding, self._contexts
    scripts = [request and request.script for request in requests]
    keys = [f'{how.seed}/{r.chance}' if r else '' for r in requests]
    thoughts, ends, patience = [None] * len(requests), {}, _PATIENCE
    said: list[tuple[Said, ...]] = [()] * len(requests)
    with jax.set_mesh(self.mesh):
      if how.think:
        thoughts, ends = self._think(scripts, keys)
        said = [(Said('thought', *s),) for s in contexts.said[: len(scripts)]]
        scripts = [
          script + (render.Turn('thought', thought),)
          if thought is not None
          else None
          for script, thought in zip(scripts, thoughts, strict=True)
        ]
        patience = 1.0  # an action follows on its thought in the same call
      prompts, more = self._prompts(scripts, 'action')
      logits_BV, ready = contexts.read(prompts, patience)
      actions, choices = self._write_actions(
        requests, scripts, logits_BV, ready, keys
      )
    ends |= more
    ends |= {i: None for i in np.flatnonzero(ready) if contexts.overflows(i)}
    decisions: list[Decision | Failure | None] = [None] * len(requests)
    for i in np.flatnonzero(ready):
      decisions[i] = actions[i]
      if not isinstance(actions[i], Failure):
        ids, logps = contexts.said[i]
        act = Said('action', ids, logps, written.allowed(choices[i], ids))
        decisions[i] = Decision(actions[i], thoughts[i], said=(*said[i], act))
    for i, failure in ends.items():
      decisions[i] = failure or Decision(None, thoughts[i], 'out_of_context')
    return decisions

  def propose(
    self,
    histories: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    k: int,
    temperature: float,
    seed: int,
  ) -> list[list[str]]:
    """Samples k actions for each history, in free text.

    Args:
      histories: (instruction, observations, actions), as `render.history`
        takes them. One that is too long gets no proposals.
      k: samples each; duplicates are for the caller to drop.
      temperature: of the samples.
      seed: with the place in `histories`, all that chance depends on.
    """
    proposals = [[None] * k for _ in histories]
    with jax.set_mesh(self.mesh):
      for some in _in_rows(histories, k, self._contexts.rows):
        scripts = [one and render.history(*histories[one[0]]) for one in some]
        keys = [f'{seed}/{one[0]}/{one[1]}' if one else '' for one in some]
        prompts, _ = self._prompts(scripts, 'action')
        logits_BV, ready = self._contexts.read(prompts, patience=1.0)
        texts = self._contexts.write(
          logits_BV, ready, keys, self._decoding.max_action_tokens, temperature
        )
        for slot in np.flatnonzero(ready):
          if not self._contexts.overflows(slot):
            i, j = some[slot]
            text = self.tokenizer.decode_answer(texts[slot], 'action')
            proposals[i][j] = text
    return [[t for t in own if t is not None] for own in proposals]

  def foretell(
    self, scripts: Sequence[render.Script | None], max_tokens: int
  ) -> list[str | None]:
    """The likeliest observation after each script, which an action ends.

    None is the answer to None, and where a script is too long.
    """
    found = self._foretell(scripts, [], max_tokens, 0.0)
    return [one.action if isinstance(one, Decision) else None for one in found]

  def predict(
    self, requests: Sequence[Request], max_tokens: int
  ) -> list[Decision | Failure]:
    """Decides what is observed next, where a script ends with an action.

    As `act` decides on actions, but that all are answered at once.
    """
    how = self._decoding
    scripts = [request.script for request in requests]
    keys = [f'{how.seed}/{request.chance}' for request in requests]
    return self._foretell(scripts, keys, max_tokens, how.temperature)

  def _foretell(self, scripts, keys, max_tokens, temperature):
    contexts = self._contexts
    with jax.set_mesh(self.mesh):
      prompts, ends = self._prompts(scripts, 'observation')
      logits_BV, ready = contexts.read(prompts, patience=1.0)
      texts = contexts.write(logits_BV, ready, keys, max_tokens, temperature)
    ends |= {i: None for i in np.flatnonzero(ready) if contexts.overflows(i)}
    decisions: list[Decision | Failure | None] = [None] * len(scripts)
    for i in np.flatnonzero(ready):
      said = (Said('observation', *contexts.said[i]),)
      decisions[i] = Decision(self.tokenizer.decode(texts[i]), said=said)
    for i, failure in ends.items():
      decisions[i] = failure or Decision(None, why='out_of_context')
    return decisions

  def _prompts(self, scripts, role):
    """Ids for each row to read (None: nothing), and the rows that end.

    These are given with their `Failure`; None where a context is too long.
    """
    encode = lambda script: self.tokenizer.encode_prompt(script, role)
    prompts = [script and units.attempt(encode, script) for script in scripts]
    ends = {}
    for i, prompt in enumerate(prompts):
      if isinstance(prompt, Failure):
        ends[i] = dataclasses.replace(prompt, reason='cannot be shown')
      elif prompt and len(prompt) >= self.cfg.max_tokens:
        ends[i] = None
    prompts = [None if i in ends else p for i, p in enumerate(prompts)]
    return prompts + [None] * (self._contexts.rows - len(prompts)), ends

  def _think(self, scripts, keys):
    """A thought for each slot that is read; and the slots that end."""
    how = self._decoding
    prompts, ends = self._prompts(scripts, 'thought')
    logits_BV, ready = self._contexts.read(prompts, _PATIENCE)
    texts = self._contexts.write(
      logits_BV,
      ready,
      [f'{key}/thought' for key in keys],
      how.max_thought_tokens,
      how.temperature,
    )
    thoughts = [None] * len(scripts)
    for i in np.flatnonzero(ready):
      if self._contexts.overflows(i):  # what was said beyond means nothing
        ends[i] = None
      else:
        thoughts[i] = self.tokenizer.decode_answer(texts[i], 'thought')
    return thoughts, ends

  def _write_actions(self, requests, scripts, logits_BV, ready, keys):
    """For the rows that are ready an action's text, or a `Failure`.

    And among which actions, by their ids, it was chosen; None: all.
    """
    how, most = self._decoding, self._decoding.max_action_tokens
    rows = range(self._contexts.rows)
    if not how.constrained:
      texts = self._contexts.write(
        logits_BV, ready, keys, most, how.temperature
      )
      decode_answer = self.tokenizer.decode_answer
      return [decode_answer(ids, 'action') for ids in texts], [
        None for _ in rows
      ]
    found = [
      written.choices(self.tokenizer, requests[row], scripts[row], most)
      if ready[row]
      else {}
      for row in rows
    ]
    failed = [isinstance(found[row], Failure) for row in rows]
    choices = [{} if failed[row] else found[row] for row in rows]
    trie = decode.Trie.build([list(choice) for choice in choices])
    active = ready & ~np.array(failed)
    texts = self._contexts.write(
      logits_BV, active, keys, most, how.temperature, trie
    )
    stop = self.tokenizer.stop_ids[0]
    return [
      found[row] if failed[row] else choices[row].get((*texts[row], stop))
      for row in rows
    ], choices


def _in_rows(histories, k, rows):
  """Batches of (history, sample), one or None for each row.

  A row goes on with an episode that it has read, so that it reads little.
  """
  episodes = []
  for i, (_, observations, _) in enumerate(histories):
    if not i or observations[:-1] != histories[i - 1][1]:
      episodes.append([])
    episodes[-1].append(i)
  episodes.sort(key=len, reverse=True)  # so that few rows are left over
  waiting = iter([(e, sample) for e in episodes for sample in range(k)])

  def row():
    for episode, sample in waiting:
      yield from ((i, sample) for i in episode)

  return itertools.zip_longest(*(row() for _ in range(rows)))
