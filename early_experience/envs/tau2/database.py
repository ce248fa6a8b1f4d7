"""A domain's database that many episodes share, each with changes of its own.

Copying a whole database takes as long as thousands of tool calls. Here the
tables of an episode refer to the records of all others, and a record is copied
when it is first got by its key, which is how tools get what they change.
"""

import copy
from collections.abc import Callable, Hashable, Mapping
from typing import Self


class Table(dict):
  """Records by key, shared until they are got.

  Args:
    records: of this table; they and their table stay as they are.
    touched: keys of those that may differ from the original ones.
  """

  def __init__(self, records: Mapping, touched: frozenset = frozenset()):
    super().__init__(records)
    self._own, self._touched = set(), set(touched)

  def __getitem__(self, key):
    record = super().__getitem__(key)
    if key not in self._own:
      record = copy.deepcopy(record)
      self[key] = record
    return record

  def __setitem__(self, key, record):
    super().__setitem__(key, record)
    self._own.add(key)
    self._touched.add(key)

  def share(self) -> Self:
    """Another table of the same records, which are no longer this one's own."""
    self._own.clear()
    return Table(self, self._touched)

  def changes(
    self, original: Mapping, form: Callable[[object], Hashable]
  ) -> list[tuple]:
    """(key, form of the record) of those whose form is not the original's."""
    found = ((key, form(self.get(key))) for key in sorted(self._touched))
    return [
      (key, new)
      for key, new in found
      if key not in original or new != form(original.get(key))
    ]
