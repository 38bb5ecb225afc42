"""What `manage.py sentinel` does for people who live in a terminal."""
