"""What a language model's free text decides for."""

import pytest

from early_experience.language.acting import action_in


@pytest.mark.parametrize(
  'answer, action',
  [
    (' go to box 1\n', 'go to box 1'),
    ('I need the coin.\n\ngo to box 1\n\n', 'go to box 1'),
    ('The coin is near.\nAction: go to box 1', 'go to box 1'),
    ('**Action:** go to box 1\nLet me know!', 'go to box 1'),
    (
      'Thought: first\nACTION : look\nThen:\nAction:\ngo to box 1',
      'go to box 1',
    ),
    ('<action> go to box 1 </action>, I think.', 'go to box 1'),
    ('<action>look</action>? No:\n<action>go to box 1</action>', 'go to box 1'),
    ('Hm. <Action>go to box 1', 'go to box 1'),
    ('<action>say a:\nb</action>', 'say a:\nb'),
    ('<think>Action: sit</think>\ngo to box 1', 'go to box 1'),
    ('<think>I could go to box 1\nor', ''),
    ('```\ngo to box 1\n```', 'go to box 1'),
    ('I call it.\n```json\n{"name":\n "f"}\n```', '{"name":\n "f"}'),
    ('Why not.\n\n{\n"a": [\n1]\n}', '{\n"a": [\n1]\n}'),
    ('Action:\n{\n"a": 1}\nThat is all.', '{\n"a": 1}'),
    ("Action: [f(a='b')]\nThat is all.", "[f(a='b')]"),
    ("{no JSON\n[f(a='b')]", "[f(a='b')]"),
    ('{"action": "look"}', 'look'),
    ('Hm.\n{"thought": "Hm.",\n "action": "take coin 1"}', 'take coin 1'),
    ('{"action": "look"}\nThat is all.', 'look'),
    ('{\n"action": "look"\n} That is all.', 'look'),
    ('I would {"action": "sit"}, but no.\nAction: look', 'look'),
    (
      '{"name": "f", "in": {"action": "x"}}',
      '{"name": "f", "in": {"action": "x"}}',
    ),
    ('{"action": {"name": "f"}}', '{"action": {"name": "f"}}'),
    ('{"action": "look"\nlook', 'look'),
    ('My action will be: none\nlook', 'look'),
    ('Hm.\nAction: **look**', 'look'),
    ('**Action: look**', 'look'),
    ('**Action:** `look`', 'look'),
    ('Hm.\n`look`', 'look'),
    ('Action: `f` or `g`', '`f` or `g`'),
    ('<action></action>', ''),
    (' \n ', ''),
  ],
)
def test_an_action_is_found_in_what_a_model_says(answer, action):
  assert action_in(answer) == action


@pytest.mark.parametrize(
  'answer, action',
  [
    ('I could take the co', ''),
    ('take the coin\nThat is becau', ''),
    ('Action: take the co', ''),
    ('Action: take the coin\nThat is becau', 'take the coin'),
    ('<action>take the coin</action> as', 'take the coin'),
    ('Hm. <action>take the co', ''),
    ('{\n"name": "f"\n"argu', ''),
    ('```json\n{"name": "f"}\n`', ''),
  ],
)
def test_what_was_cut_off_is_no_action(answer, action):
  assert action_in(answer, truncated=True) == action
