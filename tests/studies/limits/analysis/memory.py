"""Takes memory until it is killed."""

taken = []
while True:
    taken.append(b"x" * (1 << 20))
