"""What the grounded writer says, in several ways each."""

SEARCH = (
  'I still have to find {sought}.',
  'I have not found {sought} yet.',
  'First I need {sought}.',
  'What I am missing is {sought}.',
)
UNTRIED = (
  'I have not tried {place} so far.',
  'I do not know yet what is at {place}.',
  '{place} is still unexplored.',
  'It could be at {place}.',
)
INSIDE = (
  '{fact}, so it could be inside.',
  '{fact} and may hide it.',
)
PURPOSE = (
  'I want to {purpose}.',
  'The plan is to {purpose}.',
  'Soon I need to {purpose}.',
  'What I am after is to {purpose}.',
)
GOAL = (
  'The task is about {things}.',
  'My task asks for {things}.',
  'What counts now is {things}.',
  'I am here for {things}.',
)
ANYHOW = (
  'I have to get on with the task.',
  'The task needs another step.',
)
REASONS = {
  'done': (
    'I already {did}.',
    'I {did} before and need not do it again.',
  ),
  'rejected': (
    '{doing} would not work here.',
    '{doing} is not possible now.',
    'Nothing would happen if I tried to {plain}.',
  ),
  'nothing new': (
    '{doing} would tell me nothing new.',
    '{doing} would only repeat what I know.',
    'There is nothing to learn from {gerund}.',
  ),
  'same': (
    '{doing} would be no better.',
    '{doing} would do as well, but not better.',
  ),
  'later': (
    '{doing} can wait.',
    '{doing} may come later.',
  ),
  'elsewhere': (
    '{doing} would lead me away from that.',
    '{doing} would be a detour.',
  ),
  'unlikely': (
    '{doing} seems less promising.',
    '{doing} looks like a poorer guess.',
  ),
  'off task': (
    '{doing} has nothing to do with the task.',
    '{doing} would not serve the task.',
    'The task does not need me to {plain}.',
  ),
  'no help': (
    '{doing} would not bring me closer.',
    '{doing} would not help now.',
  ),
}
CONCLUSIONS = (
  'So I will {action}.',
  'I will {action}.',
  'I should {action}.',
  'The best next step is to {action}.',
  'It makes sense to {action}.',
  'Now I will {action}.',
)
