"""The look of every page: layout, colours, parts; who is here and in which project."""
