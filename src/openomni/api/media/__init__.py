"""The bytes of recordings: where they are kept, and how they come and go over HTTP."""
