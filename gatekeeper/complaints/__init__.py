"""What is said about mail afterwards: reports that others ask for."""
