"""The page on environments has all of them, and names splits that are there."""

import pathlib
import re

import pytest

from early_experience.envs import registry

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'ENVIRONMENTS.md'
# What is said of an environment, by its name in bold.
SAID = dict(
  re.findall(r'^\*\*(\w+)\*\*(.*?)(?:\n\n|\Z)', PAGE.read_text(), re.M | re.S)
)


@pytest.mark.parametrize('name', registry.ENVIRONMENTS)
def test_splits_out_of_domain_are_splits(name):
  splits = registry.kind_of(name).splits
  for bold in re.findall(r'\*\*([^*]*)\*\*', SAID[name]):
    for split in re.findall(r'`(\w+)`', bold):
      assert split in splits


def test_only_environments_are_named():
  assert set(SAID) == set(registry.ENVIRONMENTS)
