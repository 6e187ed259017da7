"""What is inside of archives and documents: members, listed to a depth and within budgets. Pure; may be killed."""
