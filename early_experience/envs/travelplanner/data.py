"""Queries, reference information and annotated plans of the official files.

Source: osunlp/TravelPlanner (train.csv, validation.csv) and database/ of
OSU-NLP-Group/TravelPlanner (train_ref_info.jsonl, validation_ref_info.jsonl).
"""

import ast
import csv
import dataclasses
import io
import pathlib
import re

from early_experience.runtime import files
from early_experience.runtime.errors import UserError

CONSTRAINTS = ('house rule', 'cuisine', 'room type', 'transportation')
_LEG = re.compile(
  r'(Flight|Self-driving|Taxi) from (.+?) to (.+?)(?: on (\d{4}-\d\d-\d\d))?'
)
_PLACES = re.compile(r'(Attractions|Restaurants|Accommodations) in (.+)')
_COST = re.compile(r'cost: \$?([\d,.]+)', re.IGNORECASE)
# What the rows of a kind of place must have.
_ROWS = {
  'Attractions': ('Name',),
  'Restaurants': ('Name', 'Average Cost', 'Cuisines'),
  'Accommodations': (
    'NAME',
    'price',
    'room type',
    'house_rules',
    'minimum nights',
    'maximum occupancy',
  ),
}


@dataclasses.dataclass(frozen=True)
class Leg:
  """A way from a city to another.

  Attributes:
    value: how a plan names it.
    price: of a seat, or of a car.
    seats: that the price is for.
    date: of a flight; '' = any day.
  """

  origin: str
  destination: str
  value: str
  price: float
  seats: int
  date: str = ''


@dataclasses.dataclass(frozen=True)
class Reference:
  """What there is: rows of the official database by city, and the legs."""

  restaurants: dict[str, list[dict]]
  attractions: dict[str, list[dict]]
  accommodations: dict[str, list[dict]]
  legs: tuple[Leg, ...]

  def cities(self) -> set[str]:
    """Cities that a trip may visit."""
    return {*self.restaurants, *self.attractions, *self.accommodations}


@dataclasses.dataclass(frozen=True)
class Query:
  """A trip to plan.

  Attributes:
    id: unique in its split.
    constraints: by the names of CONSTRAINTS; None where there is none.
    plan: the annotated one, a dict a day; empty where there is none.
  """

  id: str
  text: str
  org: str
  dest: str
  days: int
  cities: int
  dates: tuple[str, ...]
  people: int
  budget: float
  level: str
  constraints: dict
  reference: Reference
  plan: tuple[dict, ...] = ()


def exists(folder: str, split: str) -> bool:
  """Whether a folder has the queries of a split."""
  return any(pathlib.Path(folder, name).is_file() for name in _tables(split))


def read(folder: str, split: str) -> list[Query]:
  """Reads a split: {split}.csv or .jsonl, and {split}_ref_info.jsonl.

  Raises:
    UserError: a file is missing or malformed; the message has file and line.
  """
  table = _first(folder, *_tables(split))
  references = _first(folder, f'{split}_ref_info.jsonl')
  read = _csv if table.suffix == '.csv' else files.read_objects
  rows = list(read(table))
  infos = list(files.read_objects(references))
  if len(rows) != len(infos):
    raise UserError(
      f'{table} has {len(rows)} queries, and {references} {len(infos)} lines'
    )
  return [
    to_query(where, row, to_reference(spot, info), f'{split}-{place}')
    for place, ((where, row), (spot, info)) in enumerate(
      zip(rows, infos, strict=True), start=1
    )
  ]


def to_query(where: str, row: dict, reference: Reference, name: str) -> Query:
  """One query of its row, whose nested values may be written as text."""
  try:
    constraints = _literal(row['local_constraint'])
    dates = tuple(str(date) for date in _literal(row['date']))
    query = Query(
      id=name,
      text=row['query'],
      org=row['org'],
      dest=row['dest'],
      days=int(row['days']),
      cities=int(row['visiting_city_number']),
      dates=dates,
      people=int(row['people_number']),
      budget=float(row['budget']),
      level=row['level'],
      constraints={key: constraints.get(key) for key in CONSTRAINTS},
      reference=reference,
      plan=_plan(_literal(row.get('annotated_plan') or '[]')),
    )
  except KeyError as error:
    raise UserError(f'{where}: has no {error.args[0]!r}') from None
  except (AttributeError, SyntaxError, TypeError, ValueError) as error:
    said = ' '.join(str(error).split())
    raise UserError(f'{where}: malformed: {said:.80}') from None
  if query.days < 1 or query.people < 1 or len(dates) != query.days:
    raise UserError(
      f'{where}: {query.days} days with {len(dates)} dates, {query.people}'
      ' people'
    )
  return query


def to_reference(where: str, info: dict) -> Reference:
  """What a line of the reference information holds."""
  places = {kind: {} for kind in _ROWS}
  legs = []
  for key, value in info.items():
    try:
      if found := _PLACES.fullmatch(key):
        kind, city = found.groups()
        if isinstance(value, list):  # else a sentence: there are none
          for row in value:
            _check(row, kind)
          places[kind][city] = value
      elif found := _LEG.fullmatch(key):
        legs += _legs(*found.groups(), value)
      else:
        raise ValueError('not a kind of reference information')
    except KeyError as error:
      raise UserError(f'{where}: {key}: no {error.args[0]!r}') from None
    except (TypeError, ValueError) as error:
      raise UserError(f'{where}: {key}: malformed: {error}') from None
  return Reference(
    places['Restaurants'],
    places['Attractions'],
    places['Accommodations'],
    tuple(legs),
  )


def _legs(mode, origin, destination, date, value):
  if isinstance(value, list):
    return [
      Leg(
        origin,
        destination,
        f'Flight Number: {row["Flight Number"]}, from {origin} to'
        f' {destination}, Departure Time: {row["DepTime"]}, Arrival Time:'
        f' {row["ArrTime"]}',
        float(row['Price']),
        1,
        date or '',
      )
      for row in value
    ]
  cost = _COST.search(value)
  if mode == 'Flight' or not cost:
    return []  # a sentence: there is no such leg
  name = value[0].upper() + value[1:]
  price = float(cost.group(1).replace(',', ''))
  return [
    Leg(origin, destination, name, price, 5 if mode == 'Self-driving' else 4)
  ]


def _check(row, kind):
  if not isinstance(row, dict):
    raise TypeError(f'{row!r:.40} is no row')
  for key in _ROWS[kind]:
    value = row[key]
    if key in ('Average Cost', 'price', 'minimum nights', 'maximum occupancy'):
      if not isinstance(value, int | float) or value < 0:
        raise ValueError(f'{key!r} is {value!r:.40}')
    elif not isinstance(value, str):
      raise ValueError(f'{key!r} is {value!r:.40}, no text')
  if row.get('maximum occupancy') == 0:
    raise ValueError("'maximum occupancy' is 0")


def _plan(value):
  """The days of an annotated plan; some files have its query before them."""
  if len(value) == 2 and isinstance(value[1], list):
    value = value[1]
  if not all(isinstance(day, dict) for day in value):
    raise ValueError('annotated_plan holds no list of days')
  return tuple(day for day in value if day)


def _literal(value):
  return ast.literal_eval(value) if isinstance(value, str) else value


def _tables(split):
  return f'{split}.csv', f'{split}.jsonl'


def _first(folder, *names):
  for name in names:
    path = pathlib.Path(folder, name)
    if folder and path.is_file():
      return path
  raise UserError(
    f'env.kwargs.data is {folder!r}, which has no {" or ".join(names)}: name a'
    ' folder with the queries (of the data set osunlp/TravelPlanner) and the'
    ' reference information (database/ of OSU-NLP-Group/TravelPlanner); or'
    ' fixture, made-up trips'
  )


def _csv(path):
  reader = csv.reader(io.StringIO(_text(path)))
  limit = csv.field_size_limit(2**31 - 1)  # reference information is long
  try:
    names = next(reader, [])
    for row in reader:
      where = f'{path} line {reader.line_num}'
      if len(row) != len(names):
        raise UserError(f'{where}: {len(row)} fields, not {len(names)}')
      yield where, dict(zip(names, row, strict=True))
  except csv.Error as error:
    raise UserError(f'{path} line {reader.line_num}: {error}') from None
  finally:
    csv.field_size_limit(limit)


def _text(path):
  try:
    return path.read_text(encoding='utf-8')
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from None
  except UnicodeDecodeError as error:
    raise UserError(f'{path}: not UTF-8: {error.reason}') from None
