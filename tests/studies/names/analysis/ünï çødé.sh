set -e
mkdir -p "output/日本語" "output/with spaces"
echo "$# arguments: [$1] [$2] [$3]" > "output/日本語/ταβέρνα.txt"
echo x > "output/with spaces/two  spaces.txt"
name=$(printf '%0200d' 0)
echo x > "output/${name}long.txt"
