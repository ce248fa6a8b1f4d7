"""Chat records in the files that others train on, in and out.

python -m early_experience.chats import --source=FOLDER --workdir=DIR
  reads expert*, iwm* and reflection* .jsonl (or .json arrays) of FOLDER into
  DIR/import; `prepare` with --config.prepare.source=import makes rows of them.
  --expert=FILE, --iwm=FILE, --reflection=FILE name files one by one. Of an
  expert's chats each answer is learnt, once where files have a record for each
  decision; of others the last; --turns=all or --turns=last say otherwise.
  An empty answer is learnt: to end the turn. One that nothing precedes is
  context. Nulls in arguments are left out, as Arrow fills them in, but for
  those of JSON text. An object with the same key twice is refused. A record
  that is a text alone, {"text": ...}, is learnt from end to end.
python -m early_experience.chats export --workdir=DIR --out=FOLDER
  writes expert_sft.jsonl, iwm_sft.jsonl and reflection_sft.jsonl of what was
  collected, explored and reflected on, and LLaMA-Factory's dataset_info.json.
  It does not read `weight`. Of reflections the last answer alone is learnt:
  give them its `mask_history: true`. Experts' chats have answers of weight 0
  too where a policy acted or an expert left thoughts: there it needs
  --layout=states.
"""

import argparse
import contextlib
import hashlib
import json
import pathlib
import sys

from early_experience.experience import chat_export, chat_record, records
from early_experience.experience.answer_format import FORMATS
from early_experience.preparation.chats import IMPORT
from early_experience.runtime import commands, files, paths, stage
from early_experience.runtime.errors import UserError
from early_experience.runtime.json_text import read_file

# What the file of each objective is called (SKILL.md of the authors' release).
NAMES = {
  'imitation': 'expert',
  'world_model': 'iwm',
  'reflection': 'reflection',
}


def import_chats(
  workdir: str, source: str = '', turns: str = 'auto', **given: str
) -> str:
  """Reads chat files into WORKDIR/import, whole or not at all.

  Args:
    workdir: of the run.
    source: a folder with at most one file for each name of `NAMES`.
    turns: `all` answers of a chat are learnt or only the `last`, where it does
      not say so itself; `auto` is all of an expert's, but each in one record
      where there is one for each decision, and the last otherwise.
    **given: files by name of `NAMES`, which go before those of the folder.

  Returns:
    A sentence for the user.

  Raises:
    UserError: a file is missing or ambiguous, or a record is not one; the
      message names the file and the line.
  """
  paths = _paths(source, given)
  target = pathlib.Path(workdir) / IMPORT
  settings = {
    'turns': turns,
    'files': {
      objective: stage.place(str(path), _digest(path))
      for objective, path in paths.items()
    },
  }
  summary = stage.finished(target)
  if summary is not None:
    stage.begin(workdir, IMPORT, settings)  # refuses other files
    return _sentence(summary, target)
  chats, begun = [], []
  for objective, path in paths.items():
    of_experts = turns == 'auto' and objective == 'imitation'
    learnt = 'all' if of_experts else 'last' if turns == 'auto' else turns
    places, found = zip(*_parsed(path, objective, learnt), strict=True)
    if of_experts:
      named = (chat for _, chat in _parsed(path, objective, 'last', True))
      found = chat_record.once(found, named)
    begun += [
      place
      for place, chat in zip(places, found, strict=True)
      if chat.messages[0]['role'] == 'assistant'
    ]
    chats += found
  chats.sort(key=chat_record.Chat.sort_key)
  with files.new_folder(target) as made:
    with files.JsonlWriter(made, chat_record.STEM, 10_000) as writer:
      for chat in chats:
        writer.write(chat_record.to_json(chat))
    counts = dict.fromkeys(paths, 0)
    for chat in chats:
      counts[chat.objective] += 1
    files.write_json(made / stage.SETTINGS, settings)
    summary = stage.finish(
      made,
      {
        'chats': counts,
        'answers': sum(len(chat.scored) for chat in chats),
        'empty_answers': sum(map(chat_record.Chat.empty_answers, chats)),
        'begun_by_answers': begun,
      },
    )
  return _sentence(summary, target)


def _parsed(path, objective, turns, may_be_unlearnt=False):
  for where, value in read_file(path):
    yield (
      where,
      chat_record.parse(value, objective, turns, where, may_be_unlearnt),
    )


def _sentence(summary, target):
  said = f'import: {_count(summary["chats"])} chats in {target}'
  if empty := summary.get('empty_answers'):
    said += f'; {empty} of {summary["answers"]} learnt answers are empty'
  if begun := summary.get('begun_by_answers'):
    said += (
      f'; {len(begun)} begin with an answer, which is context, for nothing is'
      f' read before it (the first: {begun[0]})'
    )
  return said


def _paths(source, given):
  """The file of each objective."""
  paths = {}
  for objective, name in NAMES.items():
    path = given.get(name) or _find(source, name)
    if path:
      paths[objective] = pathlib.Path(path)
      if not paths[objective].is_file():
        raise UserError(f'{path}: no such file')
  if not paths:
    names = ', '.join(f'{name}*.jsonl' for name in NAMES.values())
    if source and not pathlib.Path(source).is_dir():
      raise UserError(f'--source={source}: no such folder')
    raise UserError(f'{source or "--source"}: none of {names} is there')
  return paths


def _find(folder, name):
  if not folder:
    return None
  found = sorted(
    path
    for path in pathlib.Path(folder).glob(f'{name}*')
    if path.suffix in ('.json', '.jsonl')
  )
  if len(found) > 1:
    names = ', '.join(path.name for path in found)
    raise UserError(f'{folder} has several: {names}; name one with --{name}')
  return found[0] if found else None


def _digest(path):
  try:
    with open(path, 'rb') as file:
      return hashlib.file_digest(file, 'sha256').hexdigest()
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from None


def export_chats(workdir: str, out: str, variant: chat_export.Variant) -> str:
  """Writes the records of a workdir as chat files into a new folder.

  Args:
    workdir: of the run; `collect` must be done.
    out: the folder.
    variant: how they are written.

  Returns:
    A sentence for the user.

  Raises:
    UserError: there are no records, or the folder is there already.
  """
  names = ('reflect', 'summarise', 'explore', 'collect')
  done = [n for n in names if stage.finished(pathlib.Path(workdir) / n)]
  source = stage.require(workdir, (done or ['collect'])[0])
  counts = dict.fromkeys(NAMES, 0)
  with files.new_folder(out) as made, contextlib.ExitStack() as stack:
    opened = {}
    for trajectory in records.read(source):
      for objective, record in chat_export.export(trajectory, variant):
        if objective not in opened:
          path = made / _file_name(objective)
          opened[objective] = stack.enter_context(open(path, 'wb'))
        line = json.dumps(record, ensure_ascii=False) + '\n'
        opened[objective].write(line.encode())
        counts[objective] += 1
    files.write_json(
      made / 'dataset_info.json',
      {
        NAMES[objective]: _dataset_info(objective, variant.layout)
        for objective in opened
      },
    )
  return f'export: {_count(counts)} records of {source} in {out}'


def _file_name(objective):
  return f'{NAMES[objective]}_sft.jsonl'


def _dataset_info(objective, layout):
  """What LLaMA-Factory is to know of a file."""
  info = {'file_name': _file_name(objective)}
  if layout == 'turns':
    info['formatting'] = 'sharegpt'
    info['columns'] = {'messages': 'messages'}
    info['tags'] = {
      'role_tag': 'role',
      'content_tag': 'content',
      'user_tag': 'user',
      'assistant_tag': 'assistant',
      'system_tag': 'system',
    }
  return info


def _count(counts):
  return ', '.join(f'{n} {name}' for name, n in counts.items())


@commands.one_line
def main() -> None:
  print(_run(sys.argv[1:]))


def _run(argv):
  parser = commands.parser('chats', __doc__)
  verbs = parser.add_subparsers(dest='command', required=True)
  command = verbs.add_parser(IMPORT)
  workdir = {'type': paths.flag('--workdir'), 'required': True}
  command.add_argument('--workdir', **workdir)
  command.add_argument('--source', type=paths.flag('--source'), default='')
  command.add_argument(
    '--turns', choices=('auto', 'all', 'last'), default='auto'
  )
  for name in NAMES.values():
    flag = f'--{name}'
    command.add_argument(flag, type=paths.flag(flag), default='')
  command = verbs.add_parser('export')
  command.add_argument('--workdir', **workdir)
  command.add_argument('--out', type=paths.flag('--out'), required=True)
  command.add_argument('--layout', choices=chat_export.LAYOUTS, default='turns')
  command.add_argument('--answers', choices=tuple(FORMATS), default='plain')
  command.add_argument('--k', type=_whole)
  given = vars(parser.parse_args(argv))
  if given.pop('command') == IMPORT:
    return import_chats(**given)
  workdir, out = given.pop('workdir'), given.pop('out')
  return export_chats(workdir, out, chat_export.Variant(**given))


def _whole(text):
  count = int(text)
  if count < 0:
    raise argparse.ArgumentTypeError(f'{count} is below 0')
  return count


if __name__ == '__main__':
  main()
