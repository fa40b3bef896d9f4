"""What is scored, by whom, and what came out: metrics, raters and scores, for people, judges and programs alike."""
