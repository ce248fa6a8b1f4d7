"""A policy behind a server that tells its tokens and their chances."""

import dataclasses
import zlib
from collections.abc import Sequence

from early_experience.evaluation.agent import Decoding
from early_experience.evaluation.decisions import Decision, Request, Said
from early_experience.experience import render
from early_experience.language import answer as answer_lib
from early_experience.language.completions import Completions, Prompt
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import Tokenizer
from early_experience.work import units
from early_experience.work.units import Failure

# Requests that fail one after another: the fault is no longer theirs.
_HOPELESS = 8


class Served:
  """A policy of `rollouts`, which reads and says the tokens an `Agent` would.

  All episodes side by side are asked for at once.

  Args:
    client: asks the server.
    tokenizer: of the model.
    max_tokens: of a context, answer included.
    decoding: how it acts; never constrained.
  """

  lists = False

  def __init__(
    self,
    client: Completions,
    tokenizer: Tokenizer,
    max_tokens: int,
    decoding: Decoding,
  ):
    self._client, self._tokenizer = client, tokenizer
    self._max_tokens, self._decoding = max_tokens, decoding
    self._failed = 0  # since anything was answered

  def act(
    self, requests: Sequence[Request | None]
  ) -> list[Decision | Failure | None]:
    """Decides for each slot.

    Raises:
      UserError: the server answers nobody.
    """
    turns = [_Turns(r, r.script) for r in requests if r]
    how = self._decoding
    if how.think:
      self._say(turns, 'thought', how.max_thought_tokens)
    self._say(turns, 'action', how.max_action_tokens)
    left = iter(turns)
    return [request and next(left).decision() for request in requests]

  def _say(self, turns, role, most):
    """Adds a turn to each that is not over."""
    asked = []
    for turn in turns:
      if turn.end is None and (prompt := self._prompt(turn, role, most)):
        asked.append((turn, prompt))
    answers = self._client.send([prompt for _, prompt in asked])
    self._check(answers)
    for (turn, prompt), answer in zip(asked, answers, strict=True):
      if isinstance(answer, answer_lib.Failure):
        turn.fails(answer)
        continue
      ids, logps = answer.ids, answer.logps
      if not answer.ended:  # as our own decoder does, which had no choice
        ids, logps = [*ids, self._tokenizer.stop_ids[0]], [*logps, 0.0]
      if len(prompt.ids) + len(ids) > self._max_tokens:
        turn.end = 'out_of_context'
      elif max(ids) >= self._tokenizer.vocab_size:  # a row of the embedding
        turn.end = 'no_action'
      else:
        text = self._tokenizer.decode_answer(ids[:-1], role)
        turn.add(text, Said(role, ids, logps))

  def _prompt(self, turn, role, most):
    """What is to be gone on with; None where the turn is over."""
    encode = lambda script: self._tokenizer.encode_prompt(script, role)
    ids = units.attempt(encode, turn.script)
    if isinstance(ids, Failure):
      turn.end = dataclasses.replace(ids, reason='cannot be shown')
      return None
    room = self._max_tokens - len(ids)
    if room <= 0:
      turn.end = 'out_of_context'
      return None
    how, key = self._decoding, f'{self._decoding.seed}/{turn.request.chance}'
    if role == 'thought':
      key += '/thought'
    seed = zlib.crc32(key.encode())
    # The last of `most` is the end, which needs no asking.
    return Prompt(ids, max(1, min(most - 1, room)), how.temperature, seed)

  def _check(self, answers):
    failed = [a for a in answers if isinstance(a, answer_lib.Failure)]
    if not answers:
      return
    if len(failed) < len(answers):
      self._failed = 0
      return
    self._failed += len(failed)
    last = failed[-1]
    if last.reason == 'connection' or self._failed >= _HOPELESS:
      raise UserError(
        f'{self._client.address} answered none of {self._failed} requests; the'
        f' last error: {last.detail or last.reason}'
      )


@dataclasses.dataclass
class _Turns:
  """One decision, as far as it is taken.

  Attributes:
    request: to be decided.
    script: the turns so far, the thought included.
    texts, said: of the turns that were added, by role and in order.
    end: why no action comes; a `Failure`, or a decision's `why`.
  """

  request: Request
  script: render.Script
  texts: dict[str, str] = dataclasses.field(default_factory=dict)
  said: tuple[Said, ...] = ()
  end: Failure | str | None = None

  def add(self, text, said):
    self.texts[said.role] = text
    self.said += (said,)
    self.script += (render.Turn(said.role, text),)

  def fails(self, failure):
    """It says nothing: a context that is too long is the policy's own fault."""
    self.end = Failure(failure.reason, failure.detail or failure.reason)
    if failure.reason == 'too long':
      self.end = 'out_of_context'

  def decision(self):
    if isinstance(self.end, Failure):
      return self.end
    thought = self.texts.get('thought')
    if self.end is not None:
      return Decision(None, thought, self.end)
    return Decision(self.texts['action'], thought, said=self.said)
