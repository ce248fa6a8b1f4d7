"""A checkpoint's config.json, as fields of ModelConfig and back."""

import dataclasses
import pathlib

from early_experience.config import model as default_model
from early_experience.hf.families import ACTIVATIONS, FAMILIES, KEYS
from early_experience.hf.rope import (
  object_in,
  read_rope,
  unused_rope,
  write_rope,
)
from early_experience.model.config import ADDED, ModelConfig
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

CONFIG = 'config.json'
_TOKENS = ('bos_token_id', 'eos_token_id', 'pad_token_id')
# What an export repeats, though no computation depends on it.
_FACTS = (*_TOKENS, 'max_position_embeddings')
# Ours has 0 for what a config.json says by null.
_OPTIONAL = ('attention_softcap', 'logit_softcap', 'window')
# A checkpoint that sees images too; what is read is its text model.
MULTIMODAL = 'gemma3'


def read(folder) -> dict[str, object]:
  """Every field of the architecture: all of ModelConfig but config.ADDED.

  Args:
    folder: of a Hugging Face checkpoint.

  Raises:
    UserError: config.json is missing, or asks for something unsupported.
  """
  where = pathlib.Path(folder) / CONFIG
  return fields_of(files.read_json(where), where)


def facts(folder) -> dict[str, object]:
  """The part of `read.facts` that config.json says."""
  where = pathlib.Path(folder) / CONFIG
  outer = files.read_json(where)
  source, family = _text_part(outer, where)
  known = family.defaults | source | outer
  values = {key: known.get(key) for key in _FACTS}
  values['model_type'] = source['model_type']
  values['multimodal'] = outer['model_type'] == MULTIMODAL or None
  return {key: value for key, value in values.items() if value is not None}


def fields_of(source: dict, where: object = CONFIG) -> dict[str, object]:
  """`read`, of the content of a config.json.

  Args:
    source: the content.
    where: named in errors.
  """
  try:
    return _fields_of(source, where)
  except TypeError as error:
    raise UserError(f'{where}: a value is of the wrong type: {error}') from None


def _fields_of(source, where):
  if quantised := object_in(source, 'quantization_config', where):
    raise UserError(
      f'{where}: quantised weights ({quantised.get("quant_method")}) are not'
      f' supported; take the checkpoint in bfloat16 or float32'
    )
  source, family = _text_part(source, where)
  for key, value in family.refused.items():
    if source.get(key) == value:
      raise UserError(f'{where}: {key} = {value} is not supported')
  source = family.defaults | source
  if family.may_slide and _slides(source):
    raise UserError(
      f'{where}: use_sliding_window = True is not supported where layers slide'
    )
  fields = _neutral() | family.fixed
  for ours, theirs in (KEYS | family.keys).items():
    fields[ours] = source[theirs]
  for ours in ('embed', 'heads', 'layers'):
    _typed(ours, fields[ours], where)
  if fields['kv_heads'] is None:
    fields['kv_heads'] = fields['heads']
  if fields['head_dim'] is None:
    fields['head_dim'] = fields['embed'] // max(1, fields['heads'])
  fields |= {key: fields[key] or 0 for key in _OPTIONAL}
  fields['activation'] = _known(
    ACTIVATIONS, fields['activation'], family.keys['activation'], where
  )
  fields |= read_rope(source, fields, family.theta, where)
  typed = {key: _typed(key, value, where) for key, value in fields.items()}
  return _canonical(typed)


def write(cfg: ModelConfig, known: dict, dtype: str) -> dict[str, object]:
  """The content of a config.json that transformers reads as this model.

  Args:
    cfg: adapters are no part of it.
    known: `read.facts` of the checkpoint it comes from, or {}.
    dtype: of the exported parameters.

  Raises:
    UserError: no supported model_type computes what `cfg` says; the message
      names the fields of the nearest.
  """
  model = dataclasses.asdict(cfg)
  model = _canonical({key: model[key] for key in model if key not in ADDED})
  positions = {'max_position_embeddings': cfg.max_tokens}
  # Of those that compute the same the source's own is first.
  names = sorted(FAMILIES, key=lambda name: name != known.get('model_type'))
  misfits = {}
  for name in names:
    made = positions | _config_of(model, name) | {'torch_dtype': dtype}
    made |= {key: known[key] for key in _FACTS if key in known}
    if _beyond(made.get('pad_token_id'), cfg.vocab_size):
      del made['pad_token_id']  # no version of transformers loads it
    there = fields_of(made)
    misfits[name] = [key for key in model if there[key] != model[key]]
    if not misfits[name]:
      return made
  nearest = min(misfits, key=lambda name: len(misfits[name]))
  wrong = ', '.join(f'{key} = {model[key]!r}' for key in misfits[nearest])
  raise UserError(f'model_type {nearest} does not have config.model.{wrong}')


def _beyond(token_id, vocab_size):
  return isinstance(token_id, int) and token_id >= vocab_size


def _config_of(model, name):
  """What a family can say of the fields."""
  family = FAMILIES[name]
  keys = KEYS | family.keys
  made = {theirs: model[ours] for ours, theirs in keys.items()}
  names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
  made[keys['activation']] = names[model['activation']]
  for ours in _OPTIONAL:
    if ours in keys:
      made[keys[ours]] = model[ours] or None
  if 'query_scale' in keys:
    # A whole number, says transformers.
    scale = int(model['query_scale'] or model['head_dim'])
    made[keys['query_scale']] = scale
  if 'window' in keys:  # where no layer has one, transformers wants one still
    made[keys['window']] = model['window'] or family.defaults[keys['window']]
  made |= write_rope(model, layered='window' in keys)
  return made | {'model_type': name, 'architectures': [family.name]}


def _text_part(source, where):
  """The part that describes the decoder, and its family."""
  name = source.get('model_type')
  if name == MULTIMODAL:
    text = object_in(source, 'text_config', where)
    return _text_part({'model_type': 'gemma3_text'} | text, where)
  names = ', '.join((*FAMILIES, f'{MULTIMODAL} (its text model)'))
  if name not in FAMILIES:
    raise UserError(
      f'{where}: model_type {name!r} is not supported; there are: {names}'
    )
  return source, FAMILIES[name]


def _slides(source):
  """Whether a layer of a Qwen sees a window alone: often none does."""
  if not (source['use_sliding_window'] and source['sliding_window']):
    return False
  if types := source.get('layer_types'):
    return 'sliding_attention' in types
  return source['max_window_layers'] < source['num_hidden_layers']


def _neutral():
  """The fields that a plain Llama leaves as they are."""
  model = default_model().to_dict()
  return {key: model[key] for key in model if key not in ADDED}


def _known(choices, value, key, where):
  if value not in choices:
    raise UserError(
      f'{where}: {key} {value!r} is not supported; there are:'
      f' {", ".join(choices)}'
    )
  return choices[value]


def _typed(key, value, where):
  """The value as the field's type: JSON has 10000 for 10000.0."""
  kind = {f.name: f.type for f in dataclasses.fields(ModelConfig)}[key]
  found = type(value)
  if found is kind or {found, kind} == {int, float} and kind(value) == value:
    return kind(value)
  raise UserError(f'{where}: {key} = {value!r} is not of type {kind.__name__}')


def _canonical(fields):
  """One way to say it, where several compute the same."""
  unused = unused_rope(fields)
  if fields['query_scale'] == fields['head_dim']:
    unused.append('query_scale')
  neutral = _neutral()
  return fields | {key: neutral[key] for key in unused}
