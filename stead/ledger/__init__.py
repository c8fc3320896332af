"""Usage times price is cost; money is set aside before it is spent."""
