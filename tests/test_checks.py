"""The checks that every rationale must pass, whoever wrote it."""

import pytest

from early_experience.experience.records import Alternative
from early_experience.reflection import checks
from early_experience.reflection.decision import Decision

DECISION = Decision(
  task_id='t',
  step=1,
  index=0,
  instruction='Take the coin.',
  observations=('You see box 1, box 2, box 3.', 'You open box 1. It is empty.'),
  actions=('open box 1',),
  admissible=('look', 'open box 1', 'open box 2', 'open box 3'),
  action='open box 2',
  outcome='You open box 2. Under a velvet cloth lies coin 7.',
  alternatives=(
    Alternative('look', 'You see box 1, box 2, box 3.', False, True, 'uniform'),
    Alternative(
      'open box 3',
      'You open box 3. It is empty but for a spider that jumps out.',
      False,
      True,
      'uniform',
    ),
  ),
  plan=('take coin 7 from box 2',),
)
GOOD = (
  'The coin was not in box 1. Looking around would tell me nothing new, and'
  ' box 3 is farther away. I will open box 2.'
)


def reason(text):
  return checks.check(text, DECISION)[1]


def ending(text, end='I will open box 2.'):
  return f'{text} {end}'


def test_a_good_rationale_passes_as_it_is():
  assert checks.check(GOOD, DECISION) == (GOOD, None)


@pytest.mark.parametrize(
  'text',
  [
    'The expert would not look around here.',
    'Action 1 seems to be worse than this.',
    'Alternative 2 would not help me at all.',
    'Option B is not so good for the task.',
    'Compared with the second option it is better.',
    'The correct action follows from the task.',
  ],
)
def test_labels_of_the_prompt_are_a_leak(text):
  assert reason(ending(text)) == 'label'


@pytest.mark.parametrize(
  'text',
  [
    'Looking around resulted in nothing at all.',
    'I saw that box 3 is not the right one.',
    'The outcome was not what the task needs.',
    'The environment responded with nothing useful.',
    'After opening box 3, I found nothing useful.',
    'There will be coin 7 waiting for me.',
    'Surely a spider jumps out of box 3.',
    'It lies under a velvet cloth somewhere.',
    'Not box 3. It is empty.',
  ],
)
def test_what_only_an_outcome_shows_is_a_leak(text):
  assert reason(ending(text)) == 'outcome'


def test_what_the_agent_has_seen_may_be_told():
  assert reason(ending('I opened box 1 before. It is empty.')) is None


def test_words_of_the_environment_itself_are_no_label():
  import dataclasses

  shop = dataclasses.replace(
    DECISION, instruction='Ask the expert of option 2.'
  )
  assert (
    checks.check(ending('The expert of option 2 can wait.'), shop)[1] is None
  )


def test_a_text_written_twice_is_halved():
  for text in (GOOD, GOOD * 3, f'{GOOD}\n\n{GOOD}', f'{GOOD} {GOOD[:120]}'):
    assert checks.check(text, DECISION) == (GOOD, None)


def test_quotation_marks_and_line_breaks_around_it_are_removed():
  broken = GOOD.replace('. Looking', '.\n\nLooking')
  assert checks.check(f' "{broken}"\n', DECISION) == (GOOD, None)


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('', 'empty'),
    (' \n', 'empty'),
    ('I will open box 2.', 'short'),
    (ending('The coin may be there. ' + 'Boxes hold things. ' * 140), 'long'),
    (
      ending('Looking would tell me nothing new.', 'I will open box 2'),
      'truncated',
    ),
    (ending('As an AI I have no hands to look with.'), 'meta'),
    (ending('Here is my reasoning about the boxes.'), 'meta'),
    (f'## Thoughts\n{GOOD}', 'markup'),
    (f'Thought:\n{GOOD}', 'markup'),
    (f'- Look is useless.\n- {GOOD}', 'markup'),
    (f'<think>{GOOD}</think>', 'markup'),
  ],
)
def test_other_faults_have_their_reasons(text, expected):
  assert reason(text) == expected


@pytest.mark.parametrize(
  ('end', 'expected'),
  [
    ('I will open box 2.', None),
    ('Opening the second, box 2, it is.', None),
    ('Box 2 it is. That is my choice now.', None),
    ('I will open box 3.', 'drift'),
    ('I will open box 2 or open box 3.', 'drift'),
    ('I will look around once more.', 'drift'),
    ('Let me think about the coin some more.', 'drift'),
  ],
)
def test_the_end_must_support_the_action_and_no_other(end, expected):
  start = 'The coin is still missing, and box 1 is empty.'
  assert reason(ending(start, end)) == expected


@pytest.mark.parametrize(
  ('middle', 'expected'),
  [
    ('So I will open box 3.', 'drift'),
    ('The best next step is to look around.', 'drift'),
    ('I choose to look, which costs nothing.', 'drift'),
    ('So I will not open box 3.', None),
    ('I will now open box 2 rather than look.', None),
    ('Therefore I should open box 2, and box 3 can wait.', None),
    ('I could open box 3, or look around.', None),
    ('If it is empty, the best step is to open box 3.', None),
  ],
)
def test_no_sentence_may_decide_for_another_action(middle, expected):
  start = 'The coin is still missing, and box 1 is empty.'
  assert reason(f'{start} {middle} I will open box 2.') == expected
