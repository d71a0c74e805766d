mkdir -p output
if dd if=/dev/zero of=output/large.bin bs=1048576 count=100000 2> /tmp/why; then
  echo no limit > output/disk.txt
else
  rm output/large.bin
  echo refused > output/disk.txt
fi
