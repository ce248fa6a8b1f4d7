"""A made-up world of a few hundred facts, for tests: no benchmark.

Films, their directors, the towns those come from and so on, under invented
names, so that nothing of it can be known without a search.
"""

import itertools

from early_experience.envs.searchqa.data import Question

SOURCE = 'fixture made for tests, not the benchmark (SearchQA)'
_TRAIN, _TEST, _OTHER = 24, 12, 8
_ONSETS = ('Bal', 'Cor', 'Den', 'Fal', 'Gor', 'Hal', 'Jor', 'Kel', 'Lor', 'Mar')
_ENDS = {
  'film': 'The {} Lantern',
  'director': '{} Anders',
  'spouse': '{} Quist',
  'town': '{}ford',
  'region': '{}mark',
  'river': '{} River',
  'company': '{} Works',
  'founder': '{} Teller',
}
_MIDDLES = ('a', 'e', 'i', 'o', 'u')


def _name(kind: str, number: int) -> str:
  onset = _ONSETS[number % len(_ONSETS)]
  middle = _MIDDLES[number // len(_ONSETS) % len(_MIDDLES)]
  return _ENDS[kind].format(f'{onset}{middle}n')


def _world(number):
  """One film, company and town with all that hangs on them."""
  return {kind: _name(kind, number) for kind in _ENDS} | {
    'year': str(1950 + number)
  }


def passages() -> list[str]:
  """Two facts a passage at most, so that a question takes several."""
  texts = []
  for number in range(_TRAIN + _TEST + 3 * _OTHER):
    w = _world(number)
    texts += [
      f'"{w["film"]}"\n{w["film"]} is a film of {w["year"]}, directed by'
      f' {w["director"]}.',
      f'"{w["director"]}"\n{w["director"]} directs films, was born in the town'
      f' of {w["town"]} and is married to {w["spouse"]}.',
      f'"{w["town"]}"\n{w["town"]} is a town in the region of {w["region"]},'
      f' on the {w["river"]}.',
      f'"{w["company"]}"\n{w["company"]} is a company, founded by'
      f' {w["founder"]}.',
      f'"{w["founder"]}"\n{w["founder"]} is a founder of companies and was born'
      f' in the town of {w["town"]}.',
    ]
  return texts


def questions() -> dict[str, list[Question]]:
  """Questions of each split; each split is about films of its own."""
  numbers = itertools.count()

  def many(split, count, *kinds):
    return [
      _question(f'{split}-{place}', next(numbers), kinds[place % len(kinds)])
      for place in range(count)
    ]

  return {
    'train': many('train', _TRAIN, _birthplace, _region),
    'test': many('test', _TEST, _birthplace, _region),
    'hotpotqa': many('hotpotqa', _OTHER, _year),
    '2wikimultihopqa': many('2wikimultihopqa', _OTHER, _spouse),
    'bamboogle': many('bamboogle', _OTHER, _river),
  }


def _question(name, number, kind):
  text, *steps = kind(_world(number))
  kind = f'{len(steps)}hop'
  return Question(name, text, (steps[-1][1],), kind, tuple(steps))


def _birthplace(w):
  return (
    f'In which town was the director of {w["film"]} born?',
    (f'Who directed the film {w["film"]}?', w['director']),
    ('In which town was #1 born?', w['town']),
  )


def _region(w):
  return (
    f'In which region was the director of {w["film"]} born?',
    *_birthplace(w)[1:],
    ('In which region is the town of #2?', w['region']),
  )


def _year(w):
  return (
    f'In which year did the husband or wife of {w["spouse"]} make a film?',
    (f'Which director is married to {w["spouse"]}?', w['director']),
    ('In which year was a film directed by #1?', w['year']),
  )


def _spouse(w):
  return (
    f'To whom is the director of {w["film"]} married?',
    (f'Who directed the film {w["film"]}?', w['director']),
    ('To whom is #1 married?', w['spouse']),
  )


def _river(w):
  return (
    f'Which river is in the town where the founder of {w["company"]} was born?',
    (f'Who founded the company {w["company"]}?', w['founder']),
    ('In which town was #1 born?', w['town']),
    ('On which river is the town of #2?', w['river']),
  )
