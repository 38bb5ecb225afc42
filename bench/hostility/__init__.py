"""What the bench of the doors does to them."""
