"""What commands and a shell tell each other: usage, missing arguments, and how words go on."""
