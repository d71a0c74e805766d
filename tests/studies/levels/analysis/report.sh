set -e
mkdir -p output/report output/other
echo "band,n" > output/report/good.csv
echo "40-49,$(grep -c ',40' output/extract.csv)" >> output/report/good.csv
# What must stay at level 3, and why.
cp output/extract.csv output/report/identifiers.csv
{ printf '\357\273\277'; echo 'Patient_ID;age'; echo '1;40'; } > output/report/disguised.csv
cp output/extract.csv output/other/renamed.txt
{ echo n; seq 1 6000; } > output/report/long.csv
echo binary > output/other/program.exe
echo note > output/other/note.md
