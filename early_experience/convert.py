"""Hugging Face checkpoints to our own, and back.

python -m early_experience.convert from_hf --hf=DIR --out=OUT
  writes OUT/checkpoints and OUT/tokenizer, for config.init.checkpoint. Weights
  that --param_dtype does not hold are refused, or rounded with --round.
python -m early_experience.convert from_gguf --gguf=FILE --out=OUT
  makes of a file of llama.cpp such a DIR, for config.init.hf.
python -m early_experience.convert to_hf --checkpoint=DIR --out=OUT
  writes what transformers and vLLM load; DIR is WORKDIR/train/NAME, or what
  from_hf wrote. Adapters are merged, or with --adapters written alone, in
  PEFT's format. --base=DIR says where what they stand beside is now, if it was
  moved.
"""

import pathlib
import sys

import jax

from early_experience import config as config_lib
from early_experience.hf import architecture, gguf, read, write
from early_experience.hf.tensor_file import NAMES
from early_experience.model import config as model_config
from early_experience.model import sharding
from early_experience.model.config import ModelConfig
from early_experience.runtime import commands, files, paths
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import interface, saved, tokenizer_files
from early_experience.training import initial, origin
from early_experience.training.checkpoint import Checkpoints


def from_hf(
  hf: str, out: str, param_dtype: str = 'float32', rounded: bool = False
) -> str:
  """Writes OUT/checkpoints and OUT/tokenizer.

  Args:
    hf: folder of a Hugging Face checkpoint.
    out: folder to be made.
    param_dtype: of the parameters; what would be rounded is refused.
    rounded: round it.

  Returns:
    A sentence for the user.

  Raises:
    UserError: the checkpoint is not whole, or not supported.
  """
  cfg = config_of(hf, param_dtype)
  mesh = sharding.machine_mesh(cfg.embed)
  found = _loaded(hf)
  if found:
    interface.check_vocab(found, cfg.vocab_size, hf)
  name = found.hash if found else ''
  with files.new_folder(out) as made:
    (made / interface.FOLDER).mkdir()
    tokenizer_files.copy(hf, made / interface.FOLDER)
    params = read.read_params(hf, cfg, mesh, rounded)
    source = read.facts(pathlib.Path(hf).absolute())
    if rounded:
      source['dtype'] = param_dtype
    with Checkpoints(
      made / initial.FOLDER, cfg, name, keep=1, source=source
    ) as checkpoints:
      checkpoints.save_params(params)
  count = sum(x.size for x in jax.tree.leaves(params))
  return f'{out}: {count:,} parameters in {param_dtype}'


def from_gguf(path: str, out: str) -> str:
  """Writes the folder of a Hugging Face checkpoint, in float32.

  Args:
    path: of a GGUF file, quantised or not.
    out: folder to be made.

  Returns:
    A sentence for the user.

  Raises:
    UserError: as `hf.gguf.convert`.
  """
  return f'{out}: {gguf.convert(path, out):,} parameters in float32'


def to_hf(
  checkpoint_folder: str,
  out: str,
  dtype: str = '',
  adapters: bool = False,
  base: str = '',
) -> str:
  """Writes a folder that transformers loads.

  Args:
    checkpoint_folder: WORKDIR/train/NAME, or OUT of `from_hf`.
    out: folder to be made.
    dtype: of the tensors; '' is that of the Hugging Face checkpoint they come
      from, or else their own.
    adapters: write them alone, in PEFT's format and float32.
    base: where what they stand beside is now, if that was moved.

  Returns:
    A sentence for the user.

  Raises:
    UserError: there is no checkpoint, or no such model in transformers.
  """
  if adapters and dtype not in ('', 'float32'):
    raise UserError(f'--adapters are float32, not --dtype={dtype}')
  folder = pathlib.Path(checkpoint_folder)
  cfg, source = origin.read_source(folder)
  source = origin.located(source, (base,))
  mesh = sharding.machine_mesh(cfg.embed)
  params = initial.policy(folder, cfg, mesh, source)
  words = saved.beside(folder)
  if words and (words / interface.FOLDER).is_dir():
    words /= interface.FOLDER
  source |= _token_ids(words, source)
  with jax.set_mesh(mesh):
    if adapters:
      known = origin.base(source)
      write.write_adapters(params, cfg, out, known, words)
      beside = known.get('path') or 'an export of what they were trained beside'
      return f'{out}: adapters of rank {cfg.lora_rank} in float32, for {beside}'
    dtype = dtype or source.get('dtype', cfg.param_dtype)
    write.write_params(params, cfg, out, dtype, source, words)
  return f'{out}: a model in {dtype}{"" if words else ", without a tokenizer"}'


def config_of(hf: str, param_dtype: str) -> ModelConfig:
  """The architecture of a Hugging Face checkpoint, checked.

  Raises:
    UserError: it is not supported.
  """
  settings = config_lib.model()
  settings.update(architecture.read(hf), param_dtype=param_dtype)
  return model_config.from_config(settings, settings.vocab_size)


def _loaded(folder):
  """The tokenizer of a folder; None where there is none that can chat."""
  folder = pathlib.Path(folder)
  can_chat = tokenizer_files.has_template(folder)
  if (folder / interface.JSON).exists() and not can_chat:
    return None  # a base model's: its files are taken along all the same
  names = (interface.JSON, interface.MODEL)
  there = any((folder / name).exists() for name in names)
  return saved.load(folder) if there else None


def _token_ids(folder, source):
  """What transformers is to know of the tokenizer, beside what it was told."""
  found = _loaded(folder) if folder else None
  if found is None:
    return {}
  ends = source.get('eos_token_id', list(found.stop_ids))
  ends = [ends] if isinstance(ends, int) else ends
  if found.stop_ids[0] not in ends:
    ends = [*ends, found.stop_ids[0]]
  return {
    'pad_token_id': source.get('pad_token_id', found.pad_id),
    'eos_token_id': ends if len(ends) > 1 else ends[0],
  }


@commands.one_line
def main() -> None:
  print(_run(sys.argv[1:]))


def _run(argv):
  parser = commands.parser('convert', __doc__)
  verbs = parser.add_subparsers(dest='command', required=True)
  command = verbs.add_parser('from_hf')
  out = {'type': paths.flag('--out'), 'required': True}
  command.add_argument('--hf', type=paths.flag('--hf', hub=True), required=True)
  command.add_argument('--out', **out)
  command.add_argument(
    '--param_dtype', choices=('float32', 'bfloat16'), default='float32'
  )
  command.add_argument('--round', action='store_true')
  command = verbs.add_parser('from_gguf')
  command.add_argument('--gguf', type=paths.flag('--gguf'), required=True)
  command.add_argument('--out', **out)
  command = verbs.add_parser('to_hf')
  checkpoint = paths.flag('--checkpoint')
  command.add_argument('--checkpoint', type=checkpoint, required=True)
  command.add_argument('--out', **out)
  command.add_argument('--dtype', choices=tuple(NAMES), default='')
  command.add_argument('--adapters', action='store_true')
  command.add_argument('--base', type=paths.flag('--base'), default='')
  given = parser.parse_args(argv)
  if given.command == 'from_hf':
    return from_hf(given.hf, given.out, given.param_dtype, given.round)
  if given.command == 'from_gguf':
    return from_gguf(given.gguf, given.out)
  return to_hf(
    given.checkpoint, given.out, given.dtype, given.adapters, given.base
  )


if __name__ == '__main__':
  main()
