"""What every public call begins with: its arguments, paths and modes checked, and when it ends."""
