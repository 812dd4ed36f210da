"""`yard refits`: the story of each refit of a model."""

from __future__ import annotations

from modelyard.cli import output
from modelyard.cli.models import Model
from modelyard.cli.sdk import open_yard
from modelyard.cli.stories import print_refit, story_of, told_outlook
from modelyard.cli.suggest import suggestions


def refits(model: Model, as_json: output.Json = False) -> None:
    """Tell the story of each refit of a model, newest first, and what happens next.

    Example: yard refits operations/arrival-delay
    """
    yard = open_yard()
    with suggestions(yard, model):
        story = story_of(yard.connection, model)
    if as_json:
        output.print_json(story)
        return
    if story.outlook is not None:
        output.print_facts([("next refit", told_outlook(story.outlook))])
    for refit in story.refits:
        print_refit(refit)
    if not story.refits:
        output.note("Nothing was trained, judged or rolled out yet: docs/self-driving.md shows how.")
