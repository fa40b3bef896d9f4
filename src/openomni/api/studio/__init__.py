"""Where pipelines are made: their pages, the editor, and the same over REST."""
