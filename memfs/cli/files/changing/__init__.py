"""Commands that change one name or file after another: names, content, attributes."""
