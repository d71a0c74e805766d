# Where an output stands beside the code, the code can be changed: that must come out.
echo result > analysis/result.txt
echo changed > analysis/log.sh
