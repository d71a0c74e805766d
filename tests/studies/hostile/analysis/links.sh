mkdir -p output output/directory.txt
echo good > output/good.txt
ln -s /etc/passwd output/link.txt
ln -s /proc/self/environ output/environment.txt
ln -s good.txt output/inside.txt
ln output/good.txt output/hard.txt
mkfifo output/fifo.txt
printf x > "$(printf 'output/line\nend.txt')"
printf x > "$(printf 'output/escape\033[2J.txt')"
printf x > "$(printf 'output/bytes\377.txt')"
true
