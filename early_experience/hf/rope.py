"""The RoPE keys of a config.json, old and new.

Old: rope_theta, rope_scaling, and for Gemma rope_local_base_freq. New, since
transformers 5: rope_parameters, for Gemma one of each kind of layer.
"""

from early_experience.runtime.errors import UserError

_LOCAL, _GLOBAL = 'sliding_attention', 'full_attention'
_PATTERN = 6  # where a Gemma 3 says nothing
# What each type needs, by our field; what has no value here must be given.
_TYPES = {
  'default': {},
  'linear': {'rope_factor': 'factor'},
  'llama3': {
    'rope_factor': 'factor',
    'rope_low_freq_factor': 'low_freq_factor',
    'rope_high_freq_factor': 'high_freq_factor',
    'rope_original_tokens': 'original_max_position_embeddings',
  },
}


def read_rope(
  source: dict, fields: dict, theta: float, where: object
) -> dict[str, object]:
  """Our fields of RoPE, and of which layers are local.

  Args:
    source: content of a config.json.
    fields: those known so far.
    theta: the family's own base.
    where: named in errors.

  Raises:
    UserError: a type or a pattern of layers is not supported, or incomplete.
  """
  both = object_in(source, 'rope_parameters', where)
  local = object_in(both, _LOCAL, where)
  layered = {_LOCAL, _GLOBAL} & set(both)
  whole = object_in(both, _GLOBAL, where) if layered else both
  whole = whole | object_in(source, 'rope_scaling', where)
  name = whole.get('rope_type') or whole.get('type') or 'default'
  if name not in _TYPES:
    raise UserError(
      f'{where}: rope type {name!r} is not supported; there are:'
      f' {", ".join(_TYPES)}'
    )
  if (source | whole).get('partial_rotary_factor') not in (None, 1):
    raise UserError(f'{where}: partial_rotary_factor is not supported')
  if name == 'llama3':
    whole.setdefault(
      'original_max_position_embeddings', source['max_position_embeddings']
    )
  found = {
    'rope_theta': whole.get('rope_theta') or source.get('rope_theta') or theta,
    'rope_scaling': 'none' if name == 'default' else name,
  }
  for ours, theirs in _TYPES[name].items():
    if theirs not in whole:
      raise UserError(f'{where}: rope type {name!r} lacks {theirs}')
    found[ours] = whole[theirs]
  if not fields['window']:
    return found
  if local.get('rope_type', 'default') != 'default':
    raise UserError(
      f'{where}: rope type {local["rope_type"]!r} of {_LOCAL} layers is not'
      ' supported; there is: default'
    )
  base = local.get('rope_theta') or source.get('rope_local_base_freq')
  return found | {
    'global_every': _global_every(source, fields, where),
    'rope_theta_local': base or fields['rope_theta_local'],
  }


def object_in(source: dict, key: str, where: object) -> dict:
  """An object within a config.json; empty where it is null or absent.

  Raises:
    UserError: it is no object.
  """
  value = source.get(key) or {}
  if not isinstance(value, dict):
    raise UserError(f'{where}: {key} = {value!r} is not an object')
  return value


def unused_rope(fields: dict) -> list[str]:
  """Those of our fields of RoPE that change nothing beside the others."""
  name = fields['rope_scaling'].replace('none', 'default')
  unused = [key for key in _TYPES['llama3'] if key not in _TYPES[name]]
  if not fields['window'] or fields['global_every'] == 1:
    unused += ['window', 'global_every', 'rope_theta_local']
  return unused


def write_rope(model: dict, layered: bool) -> dict[str, object]:
  """The keys, old ones: every version of transformers reads them.

  Args:
    model: all our fields.
    layered: whether the family has local layers.
  """
  name = model['rope_scaling'].replace('none', 'default')
  made = {'rope_theta': model['rope_theta'], 'rope_scaling': None}
  if _TYPES[name]:
    made['rope_scaling'] = {'rope_type': name} | {
      theirs: model[ours] for ours, theirs in _TYPES[name].items()
    }
  if layered:
    every = model['global_every']
    made['rope_local_base_freq'] = model['rope_theta_local']
    made['sliding_window_pattern'] = every
    made['layer_types'] = _layer_types(model['layers'], every)
  return made


def _layer_types(layers, every):
  return [_LOCAL if (i + 1) % every else _GLOBAL for i in range(layers)]


def _global_every(source, fields, where):
  """The distance from one global layer to the next."""
  types = source.get('layer_types')
  if types is None:
    return source.get('sliding_window_pattern', _PATTERN)
  first = types.index(_GLOBAL) + 1 if _GLOBAL in types else len(types) + 1
  every = source.get('sliding_window_pattern') or first
  for candidate in (every, first):
    if types == _layer_types(fields['layers'], candidate):
      return candidate
  raise UserError(
    f'{where}: layer_types is not supported: its global layers are not every'
    f' n-th of {fields["layers"]}'
  )
