"""A server's copy of the policy: handed over after each update, and compared.

Adapters go by vLLM's own call, each time under another name, so that nothing
which it has read with older ones is taken for theirs. All parameters take the
place of those that it was started with, and a command has it read them.
"""

import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import zlib

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience.evaluation.decisions import Said
from early_experience.experience import render
from early_experience.hf import architecture, read, write
from early_experience.language.answer import Failure, in_one_line
from early_experience.language.completions import Completions, Prompt
from early_experience.model import sharding, table
from early_experience.model.config import ModelConfig
from early_experience.reinforcement import batches, rows
from early_experience.reinforcement.scoring import Scorer
from early_experience.runtime import distributed
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import Tokenizer
from early_experience.training import checksum, origin

_WHERE = 'config.rl.served'
FOLDER = 'served'
# Nats a sampled token, on average, by which one policy in two programs may
# differ: bfloat16 makes 0.01 to 0.03 of it, other parameters far more.
_APART = 0.1
_PROBES = 8
_PROBE = ('Find out what there is.', 'You see a door, and a table with a note.')


class Server:
  """A server that plays the part of our decoder.

  Args:
    config: of which `rl.served` names it.
    cfg: of the model.
    tokenizer: of the model.
    mesh: that holds the parameters.
    source: of them, from `initial.resolve`.
    folder: of the run.

  Attributes:
    client: asks it, for the parameters it was handed last.

  Raises:
    UserError: a setting is wrong, or it does not serve what is asked of it.
  """

  def __init__(
    self,
    config: ConfigDict,
    cfg: ModelConfig,
    tokenizer: Tokenizer,
    mesh: Mesh,
    source: dict,
    folder: pathlib.Path,
  ):
    self._settings, self._cfg = config.rl.served, cfg
    self._tokenizer, self._source = tokenizer, source
    self._most = config.evaluate.max_action_tokens
    self._row_tokens = config.rl.row_tokens or cfg.max_tokens
    self._mesh, self._own = mesh, sharding.own_mesh(mesh)
    self._scorer = Scorer(
      cfg, tokenizer.vocab_size, mesh, config.rl.batch_rows, cap=0
    )
    there = pathlib.Path(self._settings.folder or folder / FOLDER).absolute()
    self._folder, self._held = there, None
    # Of adapters: no other run has these names.
    place = zlib.crc32(str(folder.absolute()).encode())
    self._prefix = f'{config.name}-{place:08x}-'
    if not cfg.lora_rank:
      self._check_folder()
    self.client = Completions(self._settings, _WHERE, tokenizer.stop_ids)
    self._check_server()

  def _check_folder(self):
    if not self._settings.folder or not self._settings.reload:
      raise UserError(
        f'{_WHERE}.folder and .reload are needed where all parameters are'
        ' trained: the export that the server was started with, and a command'
        ' that has it read that folder anew (or train adapters:'
        ' config.model.lora_rank)'
      )
    from_there = pathlib.Path(self._source.get('path', ''))
    if self._folder.resolve() == from_there.resolve():
      raise UserError(
        f'{_WHERE}.folder={self._folder} is where the parameters come from, and'
        ' would be overwritten: start the server with an export of its own'
      )
    theirs = architecture.read(self._folder)  # refuses what is no such folder
    ours = dataclasses.asdict(self._cfg)
    for key, value in theirs.items():
      if ours[key] != value and key != 'max_tokens':
        raise UserError(
          f'{_WHERE}.folder={self._folder} has another architecture: {key} is'
          f' {value!r} there and {ours[key]!r} here'
        )

  def _check_server(self):
    there, name = self._served(), self._settings.model
    if name not in there:
      raise UserError(
        f'{self.client.address} has no model of that name, but'
        f' {", ".join(sorted(there)) or "none"}: set {_WHERE}.model'
      )
    most = there[name].get('max_model_len') or self._cfg.max_tokens
    if most < self._cfg.max_tokens:
      raise UserError(
        f'{self.client.address} reads {most} tokens, fewer than'
        f' config.model.max_tokens = {self._cfg.max_tokens}: start it with'
        f' --max-model-len {self._cfg.max_tokens}'
      )
    self._probe()  # what it does not tell shows here

  def _served(self):
    """What it has, by name."""
    text = self._call('/models')
    try:
      return {one['id']: one for one in json.loads(text)['data']}
    except (ValueError, LookupError, TypeError):
      raise UserError(
        f'{self.client.address}: /models is no list: {in_one_line(text, 60)}'
      ) from None

  def _call(self, path, body=None, remedy=''):
    status, said = self.client.call(path, body)
    if status != 200:
      raise UserError(
        f'{self.client.address}: {path} is answered by HTTP {status}:'
        f' {said}{remedy}'
      )
    return said

  def hand_over(self, params: dict) -> None:
    """Gives it these parameters, unless it has them; in all processes at once.

    Args:
      params: of the policy, all of the parameter table.

    Raises:
      UserError: it does not take them, or is another policy afterwards.
    """
    total = checksum.of(params=params)['params']
    if total == self._held:
      return
    if self._cfg.lora_rank:
      self._hand_over_adapters(params, f'{self._prefix}{total:08x}')
    else:
      self._hand_over_all(params)
    self._compare(params)
    self._held = total

  def _hand_over_adapters(self, params, name):
    adapters, _ = table.split(params, self._cfg)
    adapters = sharding.own_copy(adapters, self._own)
    if distributed.is_first():
      there, folder = self._served(), self._folder / name
      if name not in there:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        with jax.set_mesh(self._own):
          known = origin.base(self._source)
          write.write_adapters(adapters, self._cfg, folder, known)
        self._call(
          '/load_lora_adapter',
          {'lora_name': name, 'lora_path': str(folder)},
          '; start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True,'
          f' --enable-lora and --max-lora-rank {self._cfg.lora_rank} or more,'
          ' where it sees this folder',
        )
      for old in there:
        if old.startswith(self._prefix) and old != name:
          self._call('/unload_lora_adapter', {'lora_name': old})
          shutil.rmtree(self._folder / old, ignore_errors=True)
    distributed.barrier()
    self.client.model = name

  def _hand_over_all(self, params):
    params = sharding.own_copy(params, self._own)
    if distributed.is_first():
      with jax.set_mesh(self._own):
        known = read.facts(self._folder)
        write.replace_params(params, self._cfg, self._folder, known)
      self._reload()
    distributed.barrier()

  def _reload(self):
    command = self._settings.reload
    try:
      done = subprocess.run(
        shlex.split(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding='utf-8',
        env=os.environ | {'FOLDER': str(self._folder)},
      )
    except (OSError, ValueError) as error:
      raise UserError(f'{_WHERE}.reload={command!r}: {error}') from None
    if done.returncode:
      said = in_one_line(done.stderr or done.stdout)
      raise UserError(
        f'{_WHERE}.reload={command!r} ended with {done.returncode}: {said}'
      )

  def _probe(self):
    """What it says to a prompt, several times, in the first process."""
    script = render.opening(*_PROBE)
    ids = self._tokenizer.encode_prompt(script, 'action')
    answers = self.client.send(
      [Prompt(ids, self._most, 1.0, seed) for seed in range(_PROBES)]
    )
    for answer in answers:
      if isinstance(answer, Failure):
        raise UserError(
          f'{self.client.address} does not go on with a prompt:'
          f' {answer.reason}: {answer.detail}'
        )
    return [
      dataclasses.asdict(Said('action', answer.ids, answer.logps))
      for answer in answers
    ]

  def _compare(self, params):
    """Makes sure that it says what the trainer would."""
    said = self._probe() if distributed.is_first() else []
    instruction, observation = _PROBE
    step = {'observation': observation, 'action': ''}
    record = {'instruction': instruction, 'final_observation': ''}
    group = [
      (record | {'member': i, 'steps': [step | {'said': [one]}]}, np.ones(1))
      for i, one in enumerate(distributed.gathered(said)[0])
      if one['ids']
    ]
    made = rows.make([group], self._tokenizer, self._row_tokens)
    scores = batches.Scores()
    self._scorer.add(made.rows, params, None, scores)
    apart = scores.gap / max(1.0, scores.count)
    if apart > _APART:
      raise UserError(
        f'{self.client.address} serves another policy than is trained: its'
        f' log-probabilities differ by {apart:.2g} nats a token;'
        f' {_WHERE}.model is to be '
        + (
          'what the adapters stand beside'
          if self._cfg.lora_rank
          else f'what {_WHERE}.reload reads from {self._folder}'
        )
      )
