set -e
mkdir -p output/many
{ echo patient_id,value; seq 1 1000000 | sed 's/$/,1234567890/'; } > output/large.csv
for i in $(seq 1 500); do echo a,b > output/many/$i.csv; done
head -c 17000000 /dev/zero | tr '\0' x > output/level4.txt
