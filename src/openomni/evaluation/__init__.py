"""What scores say and how sure that is: agreement, intervals, paired comparisons, pairs, repeats, error rates of text.

Pure functions: what is random takes its seed, what the data can't carry is `None`, never NaN, and what doesn't fit is a
`ValueError` of one line. Intervals are 95 %. Ratings have raters in rows, units in columns, and `None` where one is
missing. The libraries that compute come with the extra `evaluation` and are imported when they are first used.
"""
