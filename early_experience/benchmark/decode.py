r"""How fast a policy answers, turn after turn, beside transformers' `generate`.

python -m early_experience.benchmark decode --config=configs/smollm2_135m.py \
    --config.init.hf=runs/smollm2

Episodes of random tokens, of several lengths, are read and answered greedily
by our decoder, which keeps what it has read, and by transformers, which reads
each turn anew: the same weights, prompts, dtype and machine. Without
`config.init.hf` the weights are random. The lengths are those of ALFWorld's
small rooms in SmolLM2's tokens.
"""

import dataclasses
import os
import pathlib
import statistics
import tempfile
import time
import types

import jax
import numpy as np
from absl import flags
from jax import monitoring
from ml_collections import ConfigDict

from early_experience.config import checked
from early_experience.decoding.contexts import Contexts
from early_experience.hf import architecture, read, write
from early_experience.model import config as model_config
from early_experience.model import sharding, table
from early_experience.runtime import cli
from early_experience.runtime.errors import UserError

BATCHES = flags.DEFINE_multi_integer('batch', [1, 20], 'episodes side by side')
EPISODES = flags.DEFINE_integer('episodes', 3, 'timed, one after another')
TURNS = flags.DEFINE_integer('turns', 8, 'of an episode')
OPENING = flags.DEFINE_integer('opening', 105, 'tokens of the first prompt')
OBSERVATION = flags.DEFINE_integer('observation', 29, 'tokens between answers')
ANSWER = flags.DEFINE_integer('answer', 8, 'tokens of an answer')

_VOCABULARY = 4096  # where the config leaves it to a tokenizer
_COMPILING = '/jax/core/compile/backend_compile_duration'


def main() -> None:
  jax.config.update('jax_enable_compilation_cache', False)  # it is timed
  cli.run(
    lambda config, workdir: run(
      config,
      BATCHES.value,
      episodes=EPISODES.value,
      turns=TURNS.value,
      opening=OPENING.value,
      observation=OBSERVATION.value,
      answer=ANSWER.value,
    ),
    needs_workdir=False,
  )


@checked
def run(
  config: ConfigDict,
  batches: list[int],
  *,
  episodes: int,
  turns: int,
  opening: int,
  observation: int,
  answer: int,
) -> dict[int, dict]:
  """Prints and returns what each batch took.

  Args:
    config: `model`, `mesh` and `init.hf` are used.
    batches: numbers of rows.
    episodes: timed; figures are their medians.
    turns: of an episode.
    opening: tokens of the first prompt, a fifth more or less.
    observation: tokens that each later turn adds to the last answer, alike.
    answer: tokens of an answer, 2 or more.

  Returns:
    By rows: `compile_seconds`, the share of tokens that are `alike`; and of
    `ours` and `transformers`, for the `first` turn and the `later` ones,
    seconds to the `first` token and tokens a second, `rate`; `going_on` are
    the tokens a second after the first.

  Raises:
    UserError: transformers is not installed, or a number is out of range.
  """
  if min(*batches, episodes, turns - 1, opening, observation, answer - 1) < 1:
    raise UserError('--turns and --answer are 2 or more, the others 1 or more')
  mesh = sharding.make_mesh(config.mesh)
  with jax.set_mesh(mesh):
    params, cfg, theirs = _models(config, mesh)
    most = int(1.2 * (opening + (turns - 1) * observation)) + turns * answer
    cfg = dataclasses.replace(cfg, max_tokens=most)
    print(
      f'{table.count(cfg):,} parameters in {cfg.dtype}, {os.cpu_count()} cores;'
      f' openings of {opening} tokens, {turns} turns of {observation} and'
      f' answers of {answer}; medians of {episodes} episodes',
      flush=True,
    )
    found = {}
    for rows in batches:
      ours = _Ours(params, cfg, mesh, rows)
      rng = np.random.default_rng(rows)
      texts = [
        _texts(rng, cfg.vocab_size - 1, rows, turns, opening, observation)
        for _ in range(episodes + 1)
      ]
      with _Compiling() as compiling:
        _play(ours, theirs, texts[0], answer)
      played = [_play(ours, theirs, some, answer) for some in texts[1:]]
      found[rows] = _summary(played, rows, answer)
      found[rows]['compile_seconds'] = compiling.seconds
      _show(rows, found[rows])
  return found


def _models(config, mesh):
  """Our parameters and their architecture, and the model of transformers."""
  try:
    import torch
    import transformers
  except ImportError:
    raise UserError(
      "transformers is not installed; run: pip install -e '.[parity]'"
    ) from None
  model, folder = ConfigDict(config.model.to_dict()), config.init.hf
  if folder:
    model.update(architecture.read(folder))
  cfg = model_config.from_config(model, model.vocab_size or _VOCABULARY)
  with tempfile.TemporaryDirectory() as made:
    if folder:
      params = read.read_params(folder, cfg, mesh)
    else:
      params = table.make_params(jax.random.key(config.seed), cfg, mesh)
      folder = pathlib.Path(made, 'model')
      write.write_params(params, cfg, folder, cfg.param_dtype, {})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
      folder, dtype=getattr(torch, cfg.dtype)
    )
  return params, cfg, _Theirs(theirs.eval())


def _texts(rng, vocab, rows, turns, opening, observation):
  """For each turn and row the ids of what is shown: [turns][rows][...]."""

  def text(tokens):
    count = rng.integers(max(1, int(0.8 * tokens)), int(1.2 * tokens) + 1)
    return rng.integers(0, vocab, count).tolist()

  return [
    [text(observation if turn else opening) for _ in range(rows)]
    for turn in range(turns)
  ]


class _Ours:
  """The contexts of a policy. The last id of the vocabulary is never chosen."""

  def __init__(self, params, cfg, mesh, rows):
    never = cfg.vocab_size - 1
    words = types.SimpleNamespace(stop_ids=(never,), vocab_size=never)
    self._contexts = Contexts(params, cfg, words, mesh, rows)

  def answer(self, prompts, tokens):
    """Ids of each row, seconds to the first one, and seconds to the last.

    The last one is forced to be an end, as in any answer.
    """
    contexts = self._contexts
    filled = prompts + [None] * (contexts.rows - len(prompts))
    start = time.perf_counter()
    logits_BV, ready = contexts.read(filled, patience=1.0)
    logits_BV.argmax(-1).block_until_ready()
    first = time.perf_counter() - start
    contexts.write(logits_BV, ready, [], tokens, temperature=0.0)
    whole = time.perf_counter() - start
    return [ids for ids, _ in contexts.said[: len(prompts)]], first, whole


class _Theirs:
  """A model of transformers, that is given whole prompts."""

  def __init__(self, model):
    self._model = model
    model.generation_config.eos_token_id = None

  def answer(self, prompts, tokens):
    import torch

    longest = max(map(len, prompts))
    ids_BT = np.zeros((len(prompts), longest), np.int64)
    there_BT = np.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
      ids_BT[row, longest - len(prompt) :] = prompt
      there_BT[row, longest - len(prompt) :] = 1
    firsts = []

    def clock(ids, scores, **_):
      firsts.append(time.perf_counter())
      return torch.zeros(len(ids), dtype=torch.bool)

    start = time.perf_counter()
    with torch.inference_mode():
      said_BT = self._model.generate(
        torch.tensor(ids_BT),
        attention_mask=torch.tensor(there_BT),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        stopping_criteria=[clock],
      )
    whole = time.perf_counter() - start
    return said_BT[:, longest:].tolist(), firsts[0] - start, whole


class _Compiling:
  """Seconds that XLA compiles while it is entered."""

  seconds = 0.0

  def __enter__(self):
    monitoring.register_event_duration_secs_listener(self._hear)
    return self

  def __exit__(self, *_):
    monitoring.unregister_event_duration_listener(self._hear)

  def _hear(self, event, seconds, **_):
    if event == _COMPILING:
      self.seconds += seconds


def _play(ours, theirs, texts, tokens):
  """An episode of both: by turn (ours, theirs, tokens alike), as answered.

  Both are shown what ours said, so that their prompts are the same.
  """
  prompts, turns = [[] for _ in texts[0]], []
  for shown in texts:
    prompts = [a + b for a, b in zip(prompts, shown, strict=True)]
    said, *ours_took = ours.answer(prompts, tokens)
    other, *theirs_took = theirs.answer(prompts, tokens)
    alike = np.array(said)[:, :-1] == np.array(other)[:, :-1]
    turns.append((ours_took, theirs_took, alike.mean()))
    prompts = [a + b for a, b in zip(prompts, said, strict=True)]
  return turns


def _summary(played, rows, tokens):
  """Medians over the episodes, of the first turn and of all others."""

  def figures(side, turns):
    took = [episode[turn][side] for episode in played for turn in turns]
    after = (rows * (tokens - 1) / (whole - first) for first, whole in took)
    return {
      'first': statistics.median(first for first, _ in took),
      'rate': statistics.median(rows * tokens / whole for _, whole in took),
      'going_on': statistics.median(after),
    }

  found = {
    name: {
      'first': figures(side, [0]),
      'later': figures(side, range(1, len(played[0]))),
    }
    for side, name in enumerate(('ours', 'transformers'))
  }
  alike = [turn[2] for episode in played for turn in episode]
  return found | {'alike': statistics.mean(alike)}


def _show(rows, found):
  print(
    f'batch {rows}: compiled in {found["compile_seconds"]:.1f} s;'
    f' {found["alike"]:.1%} of the tokens are those of transformers'
  )
  labels = {
    'first': 'seconds to the first token',
    'rate': 'tokens/s',
    'going_on': 'tokens/s after the first',
  }
  for turn, name in (('first', 'first turn'), ('later', 'later turns')):
    for key, label in labels.items():
      ours, theirs = found['ours'][turn][key], found['transformers'][turn][key]
      better = theirs / ours if key == 'first' else ours / theirs
      print(
        f'  {name + ",":13}{label:27}{ours:9.3f}, transformers {theirs:9.3f}:'
        f' {better:.2f} times better',
        flush=True,
      )


if __name__ == '__main__':
  main()
