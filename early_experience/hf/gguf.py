"""Model files of llama.cpp (GGUF) as folders of Hugging Face checkpoints.

The package `gguf` reads the format, undoes quantisation and knows what
llama.cpp calls a tensor. What llama.cpp's own converter changed on the way in
is undone here: the order of the rows of Llama's queries and keys, and the 1
that it adds to Gemma's norms.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from early_experience.config import model as default_model
from early_experience.hf import architecture, names, tensor_file
from early_experience.hf.gguf_config import FAMILIES, config_of
from early_experience.hf.names import Tensor
from early_experience.model import config as model_config
from early_experience.runtime import files
from early_experience.runtime.errors import UserError, need_extra
from early_experience.tokenizers import gguf_tokenizer

WEIGHTS = 'model.safetensors'
_FACTORS = 'rope_freqs.weight'  # no parameter: the config says the same


def convert(path: str, out: str) -> int:
  """Writes the folder of a Hugging Face checkpoint in float32.

  Args:
    path: of a GGUF file that is whole: not the first of several.
    out: folder to be made: config.json, tensors, tokenizer, chat template.

  Returns:
    How many parameters it has.

  Raises:
    UserError: the file is missing, damaged, of an unknown family or
      quantisation, or a tensor is missing or one too many.
  """
  reader = _open(path)
  fields = {key: field.contents() for key, field in reader.fields.items()}
  stored = {tensor.name: tensor for tensor in reader.tensors}
  factors = stored.pop(_FACTORS, None)
  factors = None if factors is None else np.array(factors.data, np.float32)
  config = config_of(fields, set(stored), factors, path)
  cfg = _model(config, path)
  wanted = _named(cfg, fields['general.architecture'])
  if odd := sorted(wanted.keys() ^ stored.keys()):
    state = 'lacks' if odd[0] in wanted else 'has an unknown'
    raise UserError(f'{path} {state} tensor {odd[0]}')
  for name, tensor in wanted.items():
    found = tuple(int(n) for n in stored[name].shape[::-1])
    if found != tensor.shape:
      raise UserError(
        f'{path}: tensor {name} has shape {found}, not {tensor.shape}'
      )
  with files.new_folder(out) as made:
    tensor_file.write(
      made / WEIGHTS,
      {tensor.name: tensor.shape for tensor in wanted.values()},
      'float32',
      _arrays(wanted, stored, config, path),
    )
    files.write_json(made / architecture.CONFIG, config)
    gguf_tokenizer.write(fields, made, path)
  return sum(int(np.prod(tensor.shape)) for tensor in wanted.values())


def _open(path):
  try:
    import gguf
  except ImportError:
    raise need_extra('gguf', 'gguf') from None
  if not pathlib.Path(path).is_file():
    raise UserError(f'--gguf={path}: no such file')
  try:
    return gguf.GGUFReader(path)
  except (ValueError, IndexError, KeyError, OSError, UnicodeError) as error:
    said = ' '.join(str(error).split())
    raise UserError(f'{path} is damaged, or no GGUF file: {said}') from None


def _model(config, path):
  settings = default_model()
  settings.update(architecture.fields_of(config, path))
  return model_config.from_config(settings, settings.vocab_size)


def _named(cfg, family) -> dict[str, Tensor]:
  """The tensors of a checkpoint by llama.cpp's names."""
  import gguf

  kind = getattr(gguf.MODEL_ARCH, family.upper())
  known = gguf.get_tensor_name_map(kind, cfg.layers)
  return {
    known.get_name(tensor.name, ('.weight', '.bias')): tensor
    for tensor in names.tensors(cfg)
  }


def _arrays(wanted, stored, config, path) -> Iterator[np.ndarray]:
  """Each tensor as the checkpoint has it; one at a time is in memory."""
  import gguf

  family = FAMILIES[config['model_type']]
  for name, tensor in wanted.items():
    source = stored[name]
    try:
      array = gguf.dequantize(source.data, source.tensor_type)
    except (NotImplementedError, ValueError) as error:
      raise UserError(
        f'{path}: tensor {name} is {source.tensor_type.name}: {error}'
      ) from None
    yield _as_trained(array.reshape(tensor.shape), tensor, family, config)


def _as_trained(array, tensor, family, config):
  heads = {
    'layers/q': config['num_attention_heads'],
    'layers/k': config['num_key_value_heads'],
  }
  count = heads.get(tensor.path.removesuffix('_bias'))
  if family.interleaved and count:
    # Rows of a head: pairs that RoPE turns together lie side by side.
    halves = array.reshape(count, -1, 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)
  if family.norms_above_one and tensor.path.endswith('norm'):
    return array - np.float32(1)
  return array
