"""Makes processes until the kernel refuses one."""

import os
import time

made = 0
try:
    for made in range(100000):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
except OSError:
    pass
os.makedirs("output", exist_ok=True)
with open("output/processes.txt", "w", encoding="utf-8") as file:
    file.write("refused\n" if made < 99999 else "no limit\n")
