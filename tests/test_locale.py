"""No file, and no pipe, is read or written by the locale of a machine."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest

from early_experience.tokenizers import saved
from tests import tiny_tokenizers

ROOT = pathlib.Path(__file__).parents[1]
TEXT = 'é漢字🙂 ça'
PROGRAM = f"""
import json, sys
from early_experience.tokenizers import saved
coder = saved.load(sys.argv[1])
ids, _ = coder.encode_messages([{{'role': 'user', 'content': {TEXT!a}}}])
coder.save(sys.argv[2])
again, _ = saved.load(sys.argv[2]).encode_messages(
  [{{'role': 'user', 'content': {TEXT!a}}}]
)
print(json.dumps([ids, again]))
"""
# What opens text, and which of its arguments is a mode.
_OPENS = {'open': 1, 'fdopen': 1, 'NamedTemporaryFile': 0, 'TemporaryFile': 0}
_READS = ('read_text', 'write_text')


def by_locale(source):
  """Lines of a program that leave the encoding of text to the locale."""
  for node in ast.walk(ast.parse(source)):
    if not isinstance(node, ast.Call):
      continue
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    owner, name = '', getattr(node.func, 'id', '')
    if isinstance(node.func, ast.Attribute):
      owner, name = ast.unparse(node.func.value), node.func.attr
    if 'encoding' in named or (owner, name) == ('os', 'open'):
      continue
    if name in _READS:
      if len(node.args) <= _READS.index(name):
        yield node.lineno
    elif name in _OPENS:
      is_method = owner not in ('', 'os', 'gzip', 'tempfile')
      place = _OPENS[name] - (is_method and name == 'open')
      mode = dict(enumerate(node.args)).get(place, named.get('mode'))
      is_binary = name.endswith('File')
      if mode is not None:
        is_binary = isinstance(mode, ast.Constant) and 'b' in mode.value
      if not is_binary:
        yield node.lineno
    elif name in ('run', 'Popen', 'check_output') and 'text' in named:
      yield node.lineno


@pytest.mark.parametrize('room', ['early_experience', 'launch', 'configs'])
def test_every_text_has_an_encoding(room):
  found = [
    f'{path.relative_to(ROOT)}:{line}'
    for path in sorted((ROOT / room).rglob('*.py'))
    for line in by_locale(path.read_text(encoding='utf-8'))
  ]
  assert found == []


def test_what_leaves_it_to_the_locale_is_seen():
  source = """path.read_text()
path.write_text(text)
open(path)
open(path, 'a')
path.open()
path.open('w')
subprocess.run(command, text=True)
open(path, 'rb')
path.open('rb')
os.open(path, os.O_RDWR)
path.read_text('utf-8')
path.write_text(text, 'utf-8')
open(path, encoding='utf-8')
tempfile.TemporaryFile()
subprocess.run(command, encoding='utf-8')
"""
  assert list(by_locale(source)) == list(range(1, 8))


def test_ids_are_the_same_under_every_locale(tmp_path):
  folder = tiny_tokenizers.write(tmp_path / 'model', 'qwen2')
  path = folder / 'tokenizer.json'  # as the hub has them: not in ASCII
  content = json.loads(path.read_text(encoding='utf-8'))
  path.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
  template = folder / 'chat_template.jinja'
  text = template.read_text(encoding='utf-8').replace('Tiny', 'Tîny 漢')
  template.write_text(text, encoding='utf-8')
  expected, _ = saved.load(folder).encode_messages(
    [{'role': 'user', 'content': TEXT}]
  )
  for locale in ('C', 'en_US.ISO-8859-1'):
    environment = {'LC_ALL': locale, 'PYTHONCOERCECLOCALE': '0'}
    done = subprocess.run(
      [sys.executable, '-X', 'utf8=0', '-X', 'warn_default_encoding']
      + ['-c', PROGRAM, folder, tmp_path / locale],
      env={**os.environ, **environment, 'PYTHONPATH': str(ROOT)},
      capture_output=True,
      encoding='utf-8',
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [expected, expected]
    ours = [x for x in done.stderr.splitlines() if '/early_experience/' in x]
    assert ours == []
