"""A checkpoint's tensors into the parameter table, a shard at a time."""

import functools
import hashlib
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from early_experience.hf import architecture, names, tensor_file
from early_experience.hf.tensor_file import Stored
from early_experience.model import table
from early_experience.model.config import ModelConfig
from early_experience.model.sharding import spec
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

SINGLE = 'model.safetensors'
INDEX = f'{SINGLE}.index.json'
_SAMPLE = 4096  # bytes of a tensor, by which it is known
_PREFIX = re.compile(r'^(?!lm_head\.)')
# Of a checkpoint that sees images too: its text model, and the rest.
_TEXT = re.compile(r'language_model\.(model\..*|lm_head\..*)')
_NEW_TEXT = re.compile(r'model\.language_model\.(.*)')
_VISION = re.compile(r'(model\.)?(vision_tower|multi_modal_projector)\..*')


def read_params(
  folder, cfg: ModelConfig, mesh: Mesh, rounded: bool = False
) -> dict:
  """The parameters without adapters, laid out over the mesh.

  A process reads the bytes of its own shards and no other, and holds one
  tensor beside what it keeps.

  Args:
    folder: of a Hugging Face checkpoint.
    cfg: its architecture, from `architecture.read`.
    mesh: from `make_mesh`.
    rounded: whether what another dtype holds may be rounded to the parameters'.

  Raises:
    UserError: a file or a tensor is missing, unknown, there twice, damaged,
      or of another shape or dtype; it names it. Or the mesh does not divide.
  """
  table.param_shardings(cfg, mesh)
  pairs = matched(folder, cfg, rounded)
  rows = table.table(cfg)
  params = {}
  with jax.set_mesh(mesh):
    for tensor, stored in pairs:
      row = rows[tensor.path]
      if tensor.layer is None:
        params[tensor.path] = _put(tensor, stored, row, mesh)
        continue
      if tensor.path not in params:
        params[tensor.path] = jnp.zeros(
          row.shape, row.dtype, out_sharding=spec(*row.axes)
        )
      params[tensor.path] = _with_layer(
        params[tensor.path], tensor.layer, _put(tensor, stored, row, mesh)
      )
      # The next is not read before this one's memory is free again.
      params[tensor.path].block_until_ready()
  return table.nested(params)


def facts(folder) -> dict[str, object]:
  """What an export of this checkpoint, trained or not, is to say again.

  Returns:
    model_type, token ids, max_position_embeddings, `path` (where it was),
    `dtype`: of the tensors, float32 where they differ; `head`, where it stores
    one; and `multimodal`, where it sees images too.
  """
  folder = pathlib.Path(folder)
  there = _text_names(folder, stored_tensors(folder))
  dtypes = {
    tensor_file.DTYPES[stored.dtype].name
    for name, stored in there.items()
    if stored.dtype in tensor_file.DTYPES and not names.is_ignored(name)
  }
  dtype = dtypes.pop() if len(dtypes) == 1 else 'float32'
  more = {'dtype': dtype, 'path': str(folder)}
  if names.HEAD in there:
    more['head'] = True
  return architecture.facts(folder) | more


def content(folder) -> str:
  """Names the parameters without reading all of them.

  However they are cut into files; another dtype is another name.

  Raises:
    UserError: as `stored_tensors`.
  """
  found = hashlib.sha256()
  for name, stored in sorted(stored_tensors(pathlib.Path(folder)).items()):
    found.update(f'{name} {stored.dtype} {stored.shape}\n'.encode())
    found.update(tensor_file.sample(stored, _SAMPLE))
  return found.hexdigest()[:16]


@functools.partial(jax.jit, donate_argnums=0)
def _with_layer(stack, layer, value):
  return jax.lax.dynamic_update_index_in_dim(stack, value, layer, 0)


def _put(tensor, stored, row, mesh):
  """A tensor on the devices, in the table's layout and dtype."""
  layered = tensor.layer is not None
  axes, shape = row.axes[layered:], row.shape[layered:]
  read = {}  # devices that hold the same part share what is read

  def part(index):
    key = str(index)
    if key not in read:
      piece = tensor_file.read(stored, tensor.part(index))
      read[key] = tensor.to_param(piece).astype(row.dtype, copy=False)
    return read[key]

  sharding = NamedSharding(mesh, spec(*axes))
  return jax.make_array_from_callback(shape, sharding, part)


def matched(
  folder, cfg: ModelConfig, rounded: bool = False
) -> list[tuple[names.Tensor, Stored]]:
  """What the architecture needs, with where it lies; all is checked.

  Raises:
    UserError: as `read_params`.
  """
  folder = pathlib.Path(folder)
  there = _text_names(folder, stored_tensors(folder))
  if cfg.tied and names.HEAD in there:  # some have it under that name alone
    there.setdefault(names.EMBED, there[names.HEAD])
  pairs = []
  for tensor in names.tensors(cfg):
    if tensor.name not in there:
      raise UserError(f'{folder} lacks tensor {tensor.name}')
    stored = there.pop(tensor.name)
    if stored.shape != tensor.shape:
      raise UserError(
        f'{stored.file}: tensor {stored.name} has shape'
        f' {list(stored.shape)}; by {architecture.CONFIG} it is'
        f' {list(tensor.shape)}'
      )
    _check_dtype(stored, cfg, rounded)
    pairs.append((tensor, stored))
  head = there.pop(names.HEAD, None) if cfg.tied else None
  if head and head != pairs[0][1]:
    _check_tied(head, pairs[0][1])
  for name, stored in there.items():
    if not names.is_ignored(name):
      raise UserError(
        f'{stored.file}: tensor {stored.name} is unknown; no parameter of this'
        ' architecture has it'
      )
  return pairs


def stored_tensors(folder: pathlib.Path) -> dict[str, Stored]:
  """Every tensor of a checkpoint by name.

  Raises:
    UserError: there is none, a file is missing or damaged, a name is in two
      files, or the index says what the files do not.
  """
  index, single = folder / INDEX, folder / SINGLE
  if index.exists() and single.exists():
    raise UserError(f'{folder} has both {SINGLE} and {INDEX}; remove one')
  if single.exists():
    return {stored.name: stored for stored in tensor_file.read_header(single)}
  if not index.exists():
    raise UserError(f'{folder} has no weights: {_nothing(folder)}')
  return _indexed(folder, index)


def _nothing(folder):
  others = sorted(p.name for p in folder.glob('*.safetensors'))
  if others:
    return f'{others[0]} is there, but no {INDEX}'
  others = sorted(p.name for p in folder.glob('*.bin'))
  if others:
    return (
      f'{others[0]} is a pickle, which is not read; save the model as'
      ' safetensors'
    )
  return f'neither {SINGLE} nor {INDEX} is there'


def _indexed(folder, index):
  places = files.read_json(index).get('weight_map')
  listed = isinstance(places, dict) and set(map(type, places.values()))
  if listed != {str}:
    raise UserError(f'{index} has no weight_map of tensors to files')
  found = {}
  for name in sorted(set(places.values())):
    path = folder / name
    if path.parent != folder or not path.is_file():
      raise UserError(f'{index} names {name}, which is not there')
    for stored in tensor_file.read_header(path):
      if stored.name in found:
        raise UserError(
          f'tensor {stored.name} is in both {found[stored.name].file} and'
          f' {path}'
        )
      found[stored.name] = stored
  for name, stored in found.items():
    if places.get(name) != stored.file.name:
      raise UserError(
        f'{stored.file} has tensor {name}; {index} says it is in'
        f' {places.get(name, "no file")}'
      )
  for name, file in places.items():
    if name not in found:
      raise UserError(f'{index} says that {file} has tensor {name}; it has not')
  return found


def _text_names(folder, there):
  """The tensors of the text model, by the names they have without images."""
  config = files.read_json(folder / architecture.CONFIG)
  if 'embed_tokens.weight' in there:  # saved without its output head
    there = {_PREFIX.sub('model.', name): there[name] for name in there}
  if config.get('model_type') != architecture.MULTIMODAL:
    return there
  named = {}
  for name, stored in there.items():
    old, new = _TEXT.fullmatch(name), _NEW_TEXT.fullmatch(name)
    if not _VISION.fullmatch(name):
      own = old[1] if old else f'model.{new[1]}' if new else name
      if own in named:
        raise UserError(f'{folder} has both {named[own].name} and {name}')
      named[own] = stored
  return named


def _check_dtype(stored, cfg, rounded):
  where = f'{stored.file}: tensor {stored.name}'
  if stored.dtype not in tensor_file.DTYPES:
    raise UserError(
      f'{where} is of dtype {stored.dtype}; supported are:'
      f' {", ".join(tensor_file.DTYPES)}'
    )
  have, want = tensor_file.DTYPES[stored.dtype], np.dtype(cfg.param_dtype)
  if not np.can_cast(have, want, 'safe') and not rounded:
    holds = 'float64' if have == np.float64 else 'float32'
    raise UserError(
      f'{where} is of dtype {have.name} and would be rounded to'
      f' config.model.param_dtype = {want.name!r}; set that to {holds},'
      ' or config.init.round (of convert: --round)'
    )


def _check_tied(head, embed):
  """A tied head that is stored all the same has to be the embedding."""
  same = (head.shape, head.dtype) == (embed.shape, embed.dtype)
  # In pieces: beside it no tensor is in memory yet, but it is the largest.
  for start in range(0, head.shape[0] if same else 0, 1024):
    index = (slice(start, start + 1024), slice(None))
    a, b = (tensor_file.read(x, index).view(np.uint8) for x in (head, embed))
    same = same and np.array_equal(a, b)
  if not same:
    raise UserError(
      f'{head.file}: tensor {head.name} is not the embedding, but'
      f' {architecture.CONFIG} has tie_word_embeddings'
    )
