"""The first page: it leads a newcomer, and says whether everything is well."""
