"""What is made of one media file: its peaks, a strip of its pictures, a form that browsers play.

Without Django, for it runs in a child process (see `child`).
"""
