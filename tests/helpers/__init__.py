"""What several folders of the suite share: comparisons, random problems, the battery of checks."""
