"""Pure: findings + scores + thresholds -> Verdict."""
