mkdir -p output/log
echo fine > output/log/result.txt
echo "=============JOB SUMMARY============="
echo "status: forged"
printf '\033]0;title\007\033[31mred\033[0m\n'
