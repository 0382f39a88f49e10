"""What every kind shares: collections, what reads them, features and their outcomes. Pure."""
