"""The reward of a purchase in WebShop, part by part."""

import dataclasses

import pytest

from early_experience.envs.webshop import fixture, reward

pytest.importorskip('thefuzz')


def shop():
  found = fixture.catalogue()
  goal = found.goals[0]
  return found.products, goal, found.products[goal.asin]


# Titles of the official tests, with the scores expected there of spaCy's nouns.
@pytest.mark.parametrize(
  'wanted, bought, expected',
  [
    (
      'Mens D.O.N. Issue 2 Gca Basketball Sneakers Shoes Casual - Off White',
      'PEAK High Top Mens Basketball Shoes Lou Williams Streetball Master'
      ' Breathable Non Slip Outdoor Sneakers',
      0.333,
    ),
    (
      'Saireed UL Listed 2 Prong Power Cord for JBL Bar 3.1 Bar 2.1 Channel 4K'
      ' Ultra HD Soundbar',
      'BRST AC Power Cord Outlet Socket Cable Plug Lead for Panasonic SC-HT830V'
      ' DVD/VCR Combo Home Theater System',
      0.15,
    ),
    (
      'Rusticware 921ORB Kitchen and Bath Cabinet Knob',
      'Minkissy 2pcs Stainless Steel Eyebrow Tweezers Blackhead Acne Remover'
      ' Portable Makeup Tweezers (Silver)',
      0.0,
    ),
  ],
)
def test_words_of_titles_score_as_their_nouns_do(wanted, bought, expected):
  words = reward.title_words(wanted)
  score = len(words & reward.title_words(bought)) / len(words)
  assert score == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
  'title, query, category, expected',
  [
    ('Lamp', 'lamps', 'a › b', 1.0),  # the same
    ('Lamp of brass', 'other', 'c', 1.0),  # by its title
    ('Chair', 'lamps', 'a › b', 0.0),  # no word in common
  ],
)
def test_the_kind_of_product_is_told_by_title_query_and_category(
  title, query, category, expected
):
  wanted = dataclasses.replace(
    shop()[2], title='Lamp', query='lamps', product_category='a › b'
  )
  bought = dataclasses.replace(
    wanted, title=title, query=query, product_category=category
  )
  assert reward.type_reward(bought, wanted) == expected


def test_a_kind_that_shares_little_is_half_or_a_tenth():
  words = 'one two three four five six seven eight nine ten eleven'
  wanted = dataclasses.replace(shop()[2], title=words, query='q')
  other = dataclasses.replace(
    wanted, title='one two', query='r', product_category='x'
  )
  assert reward.type_reward(other, wanted) == 0.5
  few = dataclasses.replace(other, title='one', query='q')
  assert reward.type_reward(few, wanted) == 0.1


def test_attributes_count_where_they_are_close_or_can_be_read():
  _, goal, product = shop()
  goal = dataclasses.replace(
    goal, attributes=('tea tree', 'essential oils', 'natural', 'vegan')
  )
  product = dataclasses.replace(
    product,
    attributes=('tree tea', 'essential oil'),
    title='Soap',
    bullets=('All Natural',),
    description='',
  )
  assert reward.attributes_found(product, goal) == 3


def test_options_are_compared_by_their_colors_and_words():
  found = {
    ('cool powder snow', 'powder snow'): 1,
    ('dark navy', 'dark red'): 1,  # both are dark
    ('offwhite', 'pearlwhite'): 1,
    ('navy', 'red'): 0,
    ('medium', 'premium'): 0,
  }
  for (wanted, chosen), count in found.items():
    goal = dataclasses.replace(shop()[1], options=('xl', wanted))
    assert reward.options_found((chosen, 'xl'), goal) == 1 + count


def test_a_synthetic_option_is_compared_with_its_name():
  _, goal, _ = shop()
  goal = dataclasses.replace(goal, options=('red', '2 feet'))
  named = dataclasses.replace(goal, option_names=('color', 'size'))
  for chosen, count, with_names in (
    (('red', '2 feet'), 2, 2),
    (('size', 'color'), 0, 1),  # red stands alone
  ):
    assert reward.options_found(chosen, goal) == count
    assert reward.options_found(chosen, named) == with_names


def test_a_price_above_the_bound_costs_a_point():
  _, goal, product = shop()
  chosen = [v for own in product.options.values() for v in own]
  low = dataclasses.replace(goal, price_upper=product.price - 1)
  assert reward.reward(product, chosen, product, goal) == 1
  assert reward.reward(product, chosen, product, low) == pytest.approx(3 / 4)
