set -e
mkdir -p output
{ echo patient_id,age; seq 1 100 | sed 's/$/,40/'; } > output/extract.csv
